"""Whatever bit flips in a store, verify finds it and repair restores it from the source."""

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from conftest import Extract
from rich.console import Console

from samcache.cache.commits import commit_key
from samcache.cache.errors import CheckpointError, SamcacheError
from samcache.cache.store import Store
from samcache.cache.verify import open_damaged, verify
from samcache.extract.repair import RepairOptions, RepairSummary, repair
from samcache.extract.stored import stored


def objects_of(store: Path) -> dict[str, bytes]:
    """Every object, commit records without their time of writing."""
    paths = (path for path in sorted(store.rglob("*")) if path.is_file())
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in paths}


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1 << (place % 7)
    path.write_bytes(bytes(data))


def damage_of(store: Path) -> list[str]:
    opened, damage = open_damaged(store)
    return [one.key for one in [*damage, *verify(opened)]]


@pytest.fixture
def mend(npz: Path, checkpoint: Path) -> object:
    def run(store: Path, **changes: object) -> RepairSummary:
        options = {"source": npz, "checkpoint": checkpoint, "batch_size": 3, **changes}
        return repair(RepairOptions(store, **options), Console(file=StringIO()))  # type: ignore[arg-type]

    return run


def test_any_flipped_bit_in_any_object_is_found_and_repaired(
    run_extract: Extract, mend: object
) -> None:
    """Every object of a store in turn, at a place drawn at random."""
    opened, _ = run_extract()
    store = Path(opened.location)
    before, rng = objects_of(store), np.random.default_rng(0)
    expected = {path: opened.read(path, 0, 40) for path in opened.arrays}
    for key, data in before.items():
        flip(store / key, int(rng.integers(0, len(data) * 7)))
        if not damage_of(store):
            assert is_harmless(data, (store / key).read_bytes()), key
            (store / key).write_bytes(data)
        assert mend(store).left == [], key  # type: ignore[operator]
        assert damage_of(store) == [], key
        if "/c/" not in key and not key.startswith("commits/0"):
            assert (store / key).read_bytes() == data, key
    after = Store(store)
    for path, values in expected.items():
        found = after.read(path, 0, 40)
        np.testing.assert_allclose(found, values, atol=2e-3, rtol=2e-3)


def is_harmless(before: bytes, after: bytes) -> bool:
    """Whether two texts are the same JSON: a space may have become a tab."""
    return bool(json.loads(before) == json.loads(after))


@pytest.mark.parametrize("change", ["remove", "truncate", "empty"])
def test_missing_and_short_objects_come_back_bit_for_bit(
    run_extract: Extract, mend: object, change: str
) -> None:
    store = Path(run_extract()[0].location)
    before = objects_of(store)
    path = store / "features/late/c/2/0/0/0/0"
    if change == "remove":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] if change == "truncate" else b"")
    summary = mend(store)  # type: ignore[operator]
    assert (summary.encoded, summary.left) == (8, [])
    assert objects_of(store) == before


def test_exactly_the_damaged_row_is_encoded_again(run_extract: Extract, mend: object) -> None:
    store, _ = run_extract()
    row_bytes = store.arrays["features/neck"].row_bytes
    flip(Path(store.location, "features/neck/c/1/0/0/0/0"), 3 * (row_bytes + 4) + 5)
    summary = mend(Path(store.location))  # type: ignore[operator]
    assert [one.rows for one in summary.damage] == [(11,)]
    assert summary.encoded == 1


def test_repair_computes_in_the_stores_precision(run_extract: Extract, mend: object) -> None:
    store = Path(run_extract(precision="bfloat16", batch_size=1)[0].location)
    before = objects_of(store)
    flip(store / "features/neck/c/1/0/0/0/0", 3)
    assert mend(store, batch_size=1).encoded == 1  # type: ignore[operator]
    assert objects_of(store) == before


def test_missing_rows_are_encoded_too(run_extract: Extract, mend: object) -> None:
    store = Path(run_extract()[0].location)
    (store / commit_key(3)).unlink()
    (store / commit_key(4)).write_bytes(b"{")
    summary = mend(store)  # type: ignore[operator]
    assert summary.encoded == 16
    assert Store(store).pending() == []
    assert damage_of(store) == []


def test_intact_rows_keep_their_bits_where_the_encoder_gives_others(
    run_extract: Extract, mend: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on another GPU: the repaired row differs in its last bits, all others are untouched."""
    store, _ = run_extract()
    before = store.read_features("neck", 0, 40)
    row_bytes = store.arrays["features/neck"].row_bytes
    flip(Path(store.location, "features/neck/c/0/0/0/0/0"), 2 * (row_bytes + 4) + 5)
    monkeypatch.setattr(
        "samcache.extract.shard_encoder.stored",
        lambda *a: (stored(*a)[0] + 0.25, stored(*a)[1]),
    )
    assert mend(Path(store.location)).left == []  # type: ignore[operator]
    after = Store(store.location).read_features("neck", 0, 40)
    differs = (before != after).reshape(40, -1).any(axis=1)
    assert np.flatnonzero(differs).tolist() == [2]
    assert damage_of(Path(store.location)) == []


def test_rows_that_changed_in_the_source_stay_damaged_and_are_told(
    run_extract: Extract, mend: object, npz: Path
) -> None:
    store, _ = run_extract()
    with np.load(npz) as file:
        arrays = dict(file)
    arrays["train_images"][2] += 1
    np.savez(npz, **arrays)
    flip(Path(store.location, "features/neck/c/0/0/0/0/0"), 5)
    flip(
        Path(store.location, "features/neck/c/0/0/0/0/0"),
        2 * (store.arrays["features/neck"].row_bytes + 4) + 5,
    )
    summary = mend(Path(store.location))  # type: ignore[operator]
    assert "train/000002: the source has other bytes" in summary.text()
    assert damage_of(Path(store.location)) == ["features/neck/c/0/0/0/0/0"]


def test_other_weights_are_refused_before_anything_is_written(
    run_extract: Extract, mend: object, tmp_path: Path
) -> None:
    from tiny_encoder import save_tiny_checkpoint

    store, _ = run_extract()
    flip(Path(store.location, "features/neck/c/0/0/0/0/0"), 5)
    before = objects_of(Path(store.location))
    with pytest.raises(CheckpointError, match="the store was made with"):
        mend(  # type: ignore[operator]
            Path(store.location), checkpoint=save_tiny_checkpoint(tmp_path / "w.pth", seed=9)
        )
    assert objects_of(Path(store.location)) == before


def test_a_table_that_the_source_no_longer_has_is_not_made_up(
    run_extract: Extract, mend: object, npz: Path
) -> None:
    store, _ = run_extract()
    flip(Path(store.location, "samples/00000000/label/c/0"), 9)
    with np.load(npz) as file:
        arrays = dict(file)
    arrays["train_labels"][2] = 1 - arrays["train_labels"][2]
    np.savez(npz, **arrays)
    with pytest.raises(SamcacheError, match="the source has another table"):
        mend(Path(store.location))  # type: ignore[operator]
