"""Whatever bit flips in a store, verify finds it and repair restores it from the source."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from store_content import uncommit
from tiny_extraction import Extract

from samcache.cache.care.damage.open_damaged import open_damaged
from samcache.cache.care.verify import report, verify
from samcache.cache.errors import CheckpointError, SamcacheError
from samcache.cache.format.commit_record import (
    Commit,
    ObjectRecord,
    make_commit_key,
    make_spare_key,
)
from samcache.cache.format.shards import encode_shard
from samcache.cache.store import Store
from samcache.commands.show.extraction import describe_repair
from samcache.commands.show.stores import describe_report
from samcache.extract.pipeline.reduction import cast_maps
from samcache.extract.pipeline.repair_shard import EncoderOnDemand
from samcache.extract.repair import RepairOptions, RepairSummary, repair


def objects_of(store: Path) -> dict[str, bytes]:
    """Every object, commit records without their time of writing."""
    paths = (path for path in sorted(store.rglob("*")) if path.is_file())
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in paths}


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1 << (place % 7)
    path.write_bytes(bytes(data))


def spoil(path: Path, place: int) -> None:
    """Change more bits of a row than its checksum can correct."""
    for bit in range(3):
        flip(path, place + bit)


def damage_of(store: Path) -> list[str]:
    opened, damage = open_damaged(store)
    return [one.key for one in [*damage, *verify(opened)]]


@pytest.fixture
def store(store: Store) -> Path:
    return Path(store.location)


@pytest.fixture
def mend(npz: Path, checkpoint: Path) -> object:
    def run(store: Path, **changes: object) -> RepairSummary:
        options = {"source": npz, "checkpoint": checkpoint, "batch_size": 3, **changes}
        return repair(RepairOptions(store, **options))  # type: ignore[arg-type]

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
    store: Path, mend: object, change: str
) -> None:
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
    spoil(Path(store.location, "features/neck/c/1/0/0/0/0"), 3 * (row_bytes + 4) + 5)
    summary = mend(Path(store.location))  # type: ignore[operator]
    assert [one.rows for one in summary.damage] == [(11,)]
    assert summary.encoded == 1


def test_repair_computes_in_the_stores_precision(run_extract: Extract, mend: object) -> None:
    store = Path(run_extract(precision="bfloat16", batch_size=1)[0].location)
    before = objects_of(store)
    spoil(store / "features/neck/c/1/0/0/0/0", 3)
    assert mend(store, batch_size=1).encoded == 1  # type: ignore[operator]
    assert objects_of(store) == before


@pytest.mark.parametrize("source", ["the same", "another", "other bytes"])
@pytest.mark.parametrize("spares", [True, False])
def test_a_flipped_bit_anywhere_costs_nothing_whatever_the_source(
    store: Path, mend: object, npz: Path, source: str, spares: bool
) -> None:
    """One bit of every object at once; stores of older versions have no spares of commits."""
    if not spares:
        for spare in store.glob("commits/0*/spare/zarr.json"):
            spare.unlink()
    before = objects_of(store)
    change_source(npz, source)
    rng = np.random.default_rng(1)
    for key in before:
        if not key.startswith(("claims", "commits/zarr", "samples/zarr")) and "/spare/" not in key:
            flip(store / key, int(rng.integers(0, len(before[key]) * 7)))
    summary = mend(store, checkpoint=Path("none"))  # type: ignore[operator]
    assert (summary.encoded, summary.left) == (0, [])
    assert damage_of(store) == []
    after = objects_of(store)
    kept = [key for key in before if "/c/" in key or key.startswith("commits/0")]
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}


@pytest.mark.parametrize("stale", [make_commit_key(1), make_spare_key(1)])
def test_of_two_records_that_one_counts_which_the_objects_match(
    store: Path, mend: object, npz: Path, stale: str
) -> None:
    """A process that slept put back a whole record, of objects that were replaced since."""
    before = objects_of(store)
    record = Commit.from_bytes(before[stale], 1)
    key, entry = next(iter(record.objects.items()))
    other = replace(record, objects={**record.objects, key: ObjectRecord(entry.bytes, "0" * 32)})
    (store / stale).write_bytes(other.to_bytes())
    assert stale in damage_of(store) or key in damage_of(store)
    change_source(npz, "another")
    assert mend(store, checkpoint=Path("none")).left == []  # type: ignore[operator]
    assert objects_of(store) == before


def test_a_repair_that_was_cut_off_costs_no_other_row(run_extract: Extract, mend: object) -> None:
    """Its object stands already, and the record is still the one before."""
    opened, _ = run_extract()
    store, spec = Path(opened.location), opened.arrays["features/late"]
    rows, commit = opened.read(spec.path, 8, 16), opened.commits[1]
    expected = rows.copy()
    rows[3] += 1  # encoded again, on another machine
    (store / spec.make_key(1)).write_bytes(encode_shard(rows, commit.mark_present(8)))
    found = [one.rows for one in verify(Store(store))]
    assert found == [(11,)]
    summary = mend(store)  # type: ignore[operator]
    assert (summary.encoded, summary.left) == (1, [])
    after = Store(store).read(spec.path, 8, 16)
    others = [place for place in range(8) if place != 3]
    np.testing.assert_array_equal(after[others], expected[others])


def test_a_repair_that_slept_gives_up_no_shard_that_another_restored(
    store: Path, mend: object, npz: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = objects_of(store)
    change_source(npz, "another")
    for key in (make_commit_key(1), make_spare_key(1)):
        (store / key).write_bytes(b"{")
    read = EncoderOnDemand.read

    def slowly(self: EncoderOnDemand, number: int) -> object:
        for key in (
            make_commit_key(1),
            make_spare_key(1),
        ):  # the faster repair had the right source
            (store / key).write_bytes(before[key])
        return read(self, number)

    monkeypatch.setattr(EncoderOnDemand, "read", slowly)
    mend(store, discard=True)  # type: ignore[operator]
    assert objects_of(store) == before


def change_source(npz: Path, how: str) -> None:
    """Leave the source as it is, take images away, or change all their bytes."""
    with np.load(npz) as file:
        arrays = dict(file)
    for name in [name for name in arrays if name.endswith("_images") and how == "other bytes"]:
        arrays[name] = arrays[name] ^ 255
    if how == "another":
        arrays |= {name: arrays[name][:10] for name in arrays if name.startswith("train_")}
    np.savez(npz, **arrays)


@pytest.mark.parametrize("discard", [False, True])
@pytest.mark.parametrize(
    ("source", "problem"),
    [("another", "the source has no such sample"), ("other bytes", "the source has other bytes")],
)
def test_a_lost_record_is_rebuilt_from_the_same_images_alone(
    run_extract: Extract, mend: object, npz: Path, source: str, problem: str, discard: bool
) -> None:
    opened, _ = run_extract()
    store = Path(opened.location)
    before = objects_of(store)
    lost = [store / make_commit_key(1), store / make_spare_key(1)]
    for path in lost:
        path.write_bytes(b"{")
    change_source(npz, source)
    summary = mend(store, discard=discard)  # type: ignore[operator]
    if discard:
        assert (summary.left, summary.discarded) == ([], 8)
        assert Store(store).list_pending() == [1]
        return
    assert any(problem in one.problem for one in summary.left), summary.left
    wanted = before | {path.relative_to(store).as_posix(): b"{" for path in lost}
    assert objects_of(store) == wanted


def test_a_lost_record_keeps_whole_objects(store: Path, mend: object) -> None:
    before = objects_of(store)
    for path in (store / make_commit_key(1), store / make_spare_key(1)):
        path.write_bytes(b"{")
    assert mend(store).left == []  # type: ignore[operator]
    after = objects_of(store)
    assert {k: v for k, v in after.items() if "/c/" in k} == {
        k: v for k, v in before.items() if "/c/" in k
    }
    assert damage_of(store) == []


def test_rows_that_the_source_lost_are_given_up_only_on_request(
    run_extract: Extract, mend: object, npz: Path
) -> None:
    opened, _ = run_extract()
    store = Path(opened.location)
    row_bytes = opened.arrays["features/neck"].row_bytes
    spoil(store / "features/neck/c/0/0/0/0/0", 2 * (row_bytes + 4) + 5)
    change_source(npz, "other bytes")
    assert mend(store).left != []  # type: ignore[operator]
    assert mend(store, discard=True).discarded == 1  # type: ignore[operator]
    assert damage_of(store) == []
    status = Store(store).samples["status"]
    assert np.flatnonzero(status == "unreadable").tolist() == [2]


def test_what_was_committed_is_not_encoded_again_where_its_record_is_missing(
    run_extract: Extract, mend: object
) -> None:
    store = Path(run_extract()[0].location)
    before = objects_of(store)
    (store / make_commit_key(3)).unlink()
    found = report(store)
    assert [one.key for one in found.damage] == [make_commit_key(3)]
    assert mend(store, checkpoint=Path("none")).left == []  # type: ignore[operator]
    (store / make_commit_key(4)).unlink()
    assert run_extract()[1].encoded == 0, "extract finds the spare"
    assert objects_of(store) == before


def test_images_without_a_commit_are_named(run_extract: Extract) -> None:
    opened, _ = run_extract()
    uncommit(opened, 3)
    found = report(opened.location)
    ids = list(opened.table["id"][24:32])
    assert (found.damage, found.uncommitted) == ([], ids)
    assert "no damage" not in describe_report(found)
    assert f"8 samples without a commit record: {ids[0]}" in describe_report(found)


def test_intact_rows_keep_their_bits_where_the_encoder_gives_others(
    run_extract: Extract, mend: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on another GPU: the repaired row differs in its last bits, all others are untouched."""
    store, _ = run_extract()
    before = store.read_features("neck", 0, 40)
    row_bytes = store.arrays["features/neck"].row_bytes
    spoil(Path(store.location, "features/neck/c/0/0/0/0/0"), 2 * (row_bytes + 4) + 5)
    monkeypatch.setattr(
        "samcache.extract.pipeline.batch_encoder.cast_maps",
        lambda *a: (cast_maps(*a)[0] + 0.25, cast_maps(*a)[1]),
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
    spoil(Path(store.location, "features/neck/c/0/0/0/0/0"), 5)
    spoil(
        Path(store.location, "features/neck/c/0/0/0/0/0"),
        2 * (store.arrays["features/neck"].row_bytes + 4) + 5,
    )
    summary = mend(Path(store.location))  # type: ignore[operator]
    assert "train/000002: the source has other bytes" in "\n".join(describe_repair(summary))
    assert damage_of(Path(store.location)) == ["features/neck/c/0/0/0/0/0"]


def test_other_weights_are_refused_before_anything_is_written(
    run_extract: Extract, mend: object, tmp_path: Path
) -> None:
    from tiny_encoder import save_tiny_checkpoint

    store, _ = run_extract()
    spoil(Path(store.location, "features/neck/c/0/0/0/0/0"), 5)
    before = objects_of(Path(store.location))
    with pytest.raises(CheckpointError, match="with which these features were made"):
        mend(  # type: ignore[operator]
            Path(store.location), checkpoint=save_tiny_checkpoint(tmp_path / "w.pth", seed=9)
        )
    assert objects_of(Path(store.location)) == before


def test_a_table_that_the_source_no_longer_has_is_not_made_up(
    run_extract: Extract, mend: object, npz: Path
) -> None:
    store, _ = run_extract()
    spoil(Path(store.location, "samples/00000000/label/c/0"), 9)
    with np.load(npz) as file:
        arrays = dict(file)
    arrays["train_labels"][2] = 1 - arrays["train_labels"][2]
    np.savez(npz, **arrays)
    with pytest.raises(SamcacheError, match="the source gives another table"):
        mend(Path(store.location))  # type: ignore[operator]
