"""A store whose records an attacker wrote is read, or refused in one line, without any delay."""

import hashlib
import json
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hostile import FILES, VALUES, bounded, places, read_or_refuse, replaced
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console
from store_content import content, create

from samcache.cache.care.copy import copy_store
from samcache.cache.care.diff import diff_stores
from samcache.cache.care.gc import find_garbage
from samcache.cache.care.info import describe
from samcache.cache.care.listing import list_stores
from samcache.cache.care.verify import report
from samcache.cache.claims import Claims
from samcache.cache.commit import commit_shard
from samcache.cache.errors import StoreError
from samcache.cache.format.records import compute_checksum, encode_canonical, seal, unseal
from samcache.cache.format.samples import make_generation_objects
from samcache.cache.store import Store
from samcache.commands.show.stores import (
    describe_difference,
    describe_report,
    make_info,
    make_listing,
)

QUIET = Console(file=StringIO(), width=200)
ROOT, SPARE, TABLE, HINT = (
    "zarr.json",
    "commits/zarr.json",
    "samples/00000000/zarr.json",
    "samples/zarr.json",
)
COMMIT, CLAIM = "commits/00000001/zarr.json", "claims/table.0000/zarr.json"
TOGETHER = {ROOT: (ROOT, SPARE), TABLE: (TABLE, HINT)}  # as an attacker writes both


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole store with an image that cannot be read, and a claim on its table."""
    path = tmp_path_factory.mktemp("sound") / "s.zarr"
    store = create(path)
    commit_shard(store, 0, content(store, 0, failures={2: "no image"}))
    for shard in (1, 2):
        commit_shard(store, shard, content(store, shard))
    with Claims(store.objects) as claims:
        claims.take("table")
        claim = (path / CLAIM).read_bytes()
    (path / CLAIM).parent.mkdir(parents=True, exist_ok=True)
    (path / CLAIM).write_bytes(claim)
    return path


def sealed(value: Any) -> bytes:
    """A record with a checksum and a fingerprint that fit, whatever it says."""
    if isinstance(value, dict) and isinstance(value.get("identity"), dict):
        digest = hashlib.sha256(encode_canonical(value["identity"])).hexdigest()
        value = {**value, "fingerprint": digest}
    attributes = {"samcache": value, "checksum": compute_checksum(encode_canonical(value))}
    return json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}).encode()


def readers(store: Path, sound: Path) -> list[Callable[[], object]]:
    """Everything that reads records."""
    return [
        lambda: QUIET.print(make_listing(list_stores(store.parent), str(store.parent))),
        lambda: QUIET.print(make_info(describe(Store(store)))),
        lambda: describe_report(report(store)),
        lambda: describe_report(report(store, fast=True)),
        lambda: [Store(store).read_features("patch", 0, 10), Store(store).read_moments()],
        lambda: find_garbage(Store(store)),
        lambda: describe_difference(diff_stores(Store(sound), Store(store))),
        lambda: copy_store(Store(store), store.with_name("copy")),
    ]


def read_all(store: Path, sound: Path, first: int = 0, step: int = 1) -> list[str]:
    return [read_or_refuse(reader) for reader in readers(store, sound)[first::step]]


@st.composite
def changes(draw: st.DrawFn, keys: tuple[str, ...]) -> tuple[str, float, str]:
    """A record, a place in it, and what to put there."""
    return draw(st.sampled_from(keys)), draw(st.floats(0, 0.999)), draw(st.sampled_from([*VALUES]))


@settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(change=changes((ROOT, TABLE, HINT, COMMIT, CLAIM)))
def test_any_value_in_any_place_of_a_record_is_read_or_refused(
    sound: Path, tmp_path: Path, change: tuple[str, float, str]
) -> None:
    key, where, name = change
    record = unseal((sound / key).read_bytes())
    all_places = list(places(record))
    place = all_places[int(where * len(all_places))]
    folder = tmp_path / "stores"
    shutil.rmtree(folder, ignore_errors=True)
    store = Path(shutil.copytree(sound, folder / "s.zarr"))
    for written in TOGETHER.get(key, (key,)):
        (store / written).write_bytes(sealed(replaced(record, place, VALUES[name])))
    read_all(store, sound, first=len(place) % 4, step=4)


@pytest.mark.parametrize("how", FILES)
@pytest.mark.parametrize(
    "key", [ROOT, TABLE, COMMIT, "samples/00000000/id/c/0", "features/patch/c/1/0/0/0/0"]
)
def test_anything_in_place_of_a_file_is_refused_at_once(
    sound: Path, tmp_path: Path, key: str, how: str
) -> None:
    store = Path(shutil.copytree(sound, tmp_path / "s.zarr"))
    (store / key).unlink()
    FILES[how](store / key)
    read_all(store, sound, first=len(how) % 2, step=2)


def write_root(store: Path, **changes: Any) -> None:
    record = unseal((store / ROOT).read_bytes())
    for key in TOGETHER[ROOT]:
        (store / key).write_bytes(sealed({**record, **changes}))


def have_20_000_levels(store: Path) -> None:
    levels = [f"l{number}" for number in range(20_000)]
    identity = {**unseal((store / ROOT).read_bytes())["identity"], "levels": levels}
    write_root(store, identity=identity, level_shapes={level: [1, 1, 1] for level in levels})


def have_large_rows(store: Path) -> None:
    write_root(store, level_shapes={"patch": [1 << 20, 1, 1], "neck": [3, 2, 2]})


def write_table(store: Path, **changes: Any) -> None:
    record = unseal((store / TABLE).read_bytes())
    for key in TOGETHER[TABLE]:
        (store / key).write_bytes(sealed({**record, **changes}))


def claim_many_rows(store: Path) -> None:
    write_table(store, runs=[[0, 1 << 40]], extent=1 << 40)


def claim_a_far_row(store: Path) -> None:
    write_table(store, runs=[[0, 9], [(1 << 40) - 1, 1 << 40]], extent=1 << 40)


def claim_a_large_extent(store: Path) -> None:
    write_table(store, extent=1 << 40)


def write_column(store: Path, **changes: Any) -> None:
    """Another table whose checksums fit."""
    table = Store(store).table.assign(**changes)
    generation, columns = make_generation_objects(0, table)
    for key, data in columns.items():
        (store / key).write_bytes(data)
    for key in TOGETHER[TABLE]:
        (store / key).write_bytes(generation.to_bytes())


def have_another_label(store: Path) -> None:
    write_column(store, label=[2] + [0] * 9)


def have_a_negative_label(store: Path) -> None:
    write_column(store, label=[-1] + [0] * 9)


def have_another_split(store: Path) -> None:
    write_column(store, split=["all"] + ["train"] * 9)


def count_fewer_sources(store: Path) -> None:
    record = unseal((store / COMMIT).read_bytes())
    (store / COMMIT).write_bytes(seal({**record, "sources": record["sources"][1:]}))


def cover_other_rows(store: Path) -> None:
    record = unseal((store / COMMIT).read_bytes())
    (store / COMMIT).write_bytes(seal({**record, "rows": [0, 4]}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (have_20_000_levels, "levels: expected array of length <= 64"),
        (have_large_rows, "names other objects"),
        (claim_many_rows, "does not hold 1099511627776 values"),
        (claim_a_far_row, "an extent of 1099511627776 rows for 10 samples"),
        (claim_a_large_extent, "an extent of 1099511627776 rows for 10 samples"),
        (have_another_label, "labels outside the store's 2 classes"),
        (have_a_negative_label, "labels outside the store's 2 classes"),
        (have_another_split, "other splits than train, val, test"),
        (count_fewer_sources, "its rows do not belong to this shard"),
        (cover_other_rows, "covers rows"),
    ],
)
def test_records_that_agree_on_what_cannot_be_are_refused(
    sound: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    store = Path(shutil.copytree(sound, tmp_path / "s.zarr"))
    spoil(store)
    assert any(message in said for said in read_all(store, sound))


def test_a_store_that_cannot_be_read_hides_no_other(sound: Path, tmp_path: Path) -> None:
    for name in ("a.zarr", "b.zarr", "c.zarr"):
        shutil.copytree(sound, tmp_path / name)
    write_root(tmp_path / "a.zarr", provenance={"a": float("inf")})
    (tmp_path / "b.zarr" / ROOT).unlink()
    FILES["a named pipe"](tmp_path / "b.zarr" / ROOT)
    with bounded():
        first, second, third = list_stores(tmp_path)
    assert "a number is not finite" in first.problem
    assert "is a named pipe, not a regular file" in second.problem
    assert (third.samples, third.problem) == (10, "")


@pytest.mark.parametrize("name", ["table.²", "table.0" + "9" * 100, "table.-1", "table.9"])
def test_claims_that_samcache_never_names_so_do_not_count(
    sound: Path, tmp_path: Path, name: str
) -> None:
    store = Path(shutil.copytree(sound, tmp_path / "s.zarr"))
    (store / "claims" / name).mkdir()
    shutil.copy(store / CLAIM, store / "claims" / name)
    (store / CLAIM).write_bytes(b"")
    with bounded(), Claims(Store(store).objects) as claims:
        assert claims.take("table") is not None


def test_a_commit_record_may_have_fields_of_later_versions(sound: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(sound, tmp_path / "s.zarr"))
    record = unseal((store / COMMIT).read_bytes())
    (store / COMMIT).write_bytes(seal({**record, "later": [1.5, {"deep": None}]}))
    assert Store(store).commits == Store(sound).commits


def test_a_reason_that_no_terminal_takes_is_read_as_escapes(sound: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(sound, tmp_path / "s.zarr"))
    record = unseal((store / COMMIT).read_bytes())
    failures = {"5": "cannot be read: \udcff"}
    (store / COMMIT).write_bytes(sealed({**record, "failures": failures}))
    with pytest.raises(StoreError, match="names other objects"):  # their sizes have no such row
        Store(store).read_commit(1)
