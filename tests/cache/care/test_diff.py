"""Two stores differ in what differs, and in nothing else; no feature is read to tell."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_content import IDENTITY, SHAPES, content, create, full_store, samples

from samcache.cache.care.diff import Change, SampleChange, diff_stores
from samcache.cache.commit import commit_shard
from samcache.cache.create import add_generation, create_store
from samcache.cache.errors import StoreError
from samcache.cache.format.description import Dataset, Description
from samcache.cache.objects.folder import FolderObjects
from samcache.cache.objects.location import open_objects
from samcache.cache.store import Store
from samcache.commands.show.stores import describe_difference

TOY = Dataset("toy", ("a", "b"), "source")


def made(
    path: Path, table: pd.DataFrame, dataset: Dataset = TOY, per_shard: int = 4, **changes: Any
) -> Store:
    """A complete store of a table; keywords replace fields of the shards' content."""
    description = Description(IDENTITY, dataset, per_shard, SHAPES)
    store = create_store(path, open_objects(path), description, table)
    for shard in range(store.layout.shards):
        mine = range(*store.layout.find_rows(shard))
        failures = {row: text for row, text in changes.get("failures", {}).items() if row in mine}
        assert commit_shard(
            store, shard, content(store, shard, changes.get("seed", 0), failures=failures)
        )
    return Store(path)


def test_a_store_and_its_twin_are_the_same_and_no_array_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = full_store(tmp_path / "a"), full_store(tmp_path / "b")
    monkeypatch.delattr(FolderObjects, "read_into")
    found = diff_stores(a, b)
    assert found.same
    assert (found.compared, found.uncompared) == (10, 0)
    assert (
        "no difference; arrays of 10 samples have the same recorded checksums"
        in describe_difference(found)
    )


def test_identity_differs_field_by_field(tmp_path: Path) -> None:
    a = full_store(tmp_path / "a")
    b = full_store(tmp_path / "b", identity=replace(IDENTITY, weights="1" * 64, pool=2))
    found = diff_stores(a, b)
    assert not found.same
    assert found.identity == [Change("weights", "0" * 64, "1" * 64), Change("pool", 1, 2)]
    assert "identity pool: 1 in A, 2 in B" in describe_difference(found)
    assert "identity weights: 000000000000… in A, 111111111111… in B" in describe_difference(found)


def test_data_set_and_level_shapes_differ(tmp_path: Path) -> None:
    a = full_store(tmp_path / "a")
    dataset = Dataset("other", ("a", "b", "c"), "drawn")
    shapes = {**SHAPES, "neck": (3, 1, 1)}
    b = create_store(
        tmp_path / "b",
        open_objects(tmp_path / "b"),
        Description(IDENTITY, dataset, 4, shapes),
        samples(10),
    )
    found = diff_stores(a, b)
    assert {change.name for change in found.dataset} == {"name", "classes", "split_origin"}
    assert found.level_shapes == [Change("neck", (3, 2, 2), (3, 1, 1))]
    assert "level neck: 3,2,2 in A, 3,1,1 in B" in describe_difference(found)
    assert "data set classes: a,b in A, a,b,c in B" in describe_difference(found)


@settings(max_examples=15, deadline=None)
@given(
    a=st.lists(st.sampled_from("pqrstuvw"), min_size=1, unique=True),
    b=st.lists(st.sampled_from("pqrstuvw"), min_size=1, unique=True),
)
def test_ids_of_one_store_alone_are_named(
    tmp_path_factory: pytest.TempPathFactory, a: list[str], b: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("d")
    stores = [
        made(folder / name, samples(len(ids)).assign(id=ids)) for name, ids in (("a", a), ("b", b))
    ]
    found = diff_stores(*stores)
    assert found.only_a == [name for name in a if name not in b]
    assert found.only_b == [name for name in b if name not in a]
    assert found.compared + found.uncompared == len({*a} & {*b})
    changed = {change.id for change in found.samples}
    assert changed <= {*a} & {*b}


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [("label", 1, ("a", "b")), ("split", "val", ("test", "val")), ("group", "g", ("", "g"))],
)
def test_a_changed_field_is_named_with_both_values(
    tmp_path: Path, column: str, value: object, shown: tuple[str, str]
) -> None:
    table = samples(10)
    other = table.copy()
    other.loc[0, column] = value
    found = diff_stores(made(tmp_path / "a", table), made(tmp_path / "b", other))
    assert found.samples == [SampleChange("image 0 é", column, *shown)]
    assert f"1 sample with another {column}:" in describe_difference(found)
    assert not found.features


def test_classes_in_another_order_change_no_label(tmp_path: Path) -> None:
    a = made(tmp_path / "a", samples(6))
    turned = samples(6).assign(label=1 - samples(6)["label"])
    b = made(tmp_path / "b", turned, Dataset("toy", ("b", "a"), "source"))
    found = diff_stores(a, b)
    assert found.samples == []
    assert [change.name for change in found.dataset] == ["classes"]


def test_source_bytes_and_status_are_compared(tmp_path: Path) -> None:
    a = full_store(tmp_path / "a")
    b = create(tmp_path / "b")
    commit_shard(
        b, 0, content(b, 0, failures={1: "torn"}, sources=("e" * 64, *content(b, 0).sources[1:]))
    )
    commit_shard(b, 1, content(b, 1))
    found = diff_stores(a, Store(tmp_path / "b"))
    changes = {(change.id, change.name) for change in found.samples}
    assert changes == {
        ("image 0 é", "sha256"),
        ("image 1 é", "status"),
        ("image 8 é", "status"),
        ("image 9 é", "status"),
    }
    assert (found.compared, found.uncompared) == (4, 3)  # shard 1, and rows 0, 2 and 3


def test_arrays_that_differ_are_named_with_their_samples(tmp_path: Path) -> None:
    a, b = full_store(tmp_path / "a"), create(tmp_path / "b")
    for shard in range(3):
        known = content(b, shard)
        if shard == 1:
            blocks = {**known.blocks, "features/neck": known.blocks["features/neck"] + 1}
            known = replace(known, blocks=blocks)
        commit_shard(b, shard, known)
    found = diff_stores(a, Store(tmp_path / "b"))
    assert not found.same
    assert found.features == {"features/neck": [f"image {row} é" for row in (4, 5, 6, 7)]}
    assert found.compared == 10
    assert "4 samples in shards whose features/neck differ" in describe_difference(found)


def test_arrays_in_other_shards_are_not_said_to_differ(tmp_path: Path) -> None:
    a = made(tmp_path / "a", samples(10))
    b = made(tmp_path / "b", samples(10), per_shard=5)
    c = made(tmp_path / "c", samples(10).iloc[::-1].reset_index(drop=True))
    for other in (b, c):
        found = diff_stores(a, other)
        assert found.features == {}
        assert (found.compared, found.uncompared) == (0, 10)
        assert "10 samples could not be compared" in describe_difference(found)


def test_shards_of_another_size_are_not_compared(tmp_path: Path) -> None:
    a, b = made(tmp_path / "a", samples(3)), made(tmp_path / "b", samples(3), per_shard=5)
    found = diff_stores(a, b)
    assert found.features == {}
    assert found.uncompared == 3


def test_a_dropped_sample_hides_no_difference_and_makes_none(tmp_path: Path) -> None:
    a, b = full_store(tmp_path / "a"), full_store(tmp_path / "b")
    kept = a.table.drop(index=5).reset_index(drop=True)
    found = diff_stores(add_generation(a, kept), add_generation(b, kept))
    assert found.same
    assert found.compared == 9
    c = made(tmp_path / "c", samples(10), seed=1)
    found = diff_stores(Store(tmp_path / "a"), add_generation(c, kept))
    assert sorted({name for ids in found.features.values() for name in ids}) == [
        f"image {row} é" for row in (0, 1, 2, 3, 8, 9)
    ]
    assert found.uncompared == 3  # of shard 1, whose bytes may differ in the dropped row alone


def test_text_names_ten_and_json_names_all(tmp_path: Path) -> None:
    a, b = full_store(tmp_path / "a", rows=14), full_store(tmp_path / "b", rows=2)
    found = diff_stores(a, b)
    assert "12 samples only in A:" in describe_difference(found)
    assert describe_difference(found).count("image") == 10
    assert "… and 2 more" in describe_difference(found)
    value = json.loads(json.dumps(found.to_json()))
    assert len(value["only_a"]) == 12
    assert value["same"] is False


def test_repeated_ids_are_an_error(tmp_path: Path) -> None:
    table = samples(4).assign(id=["x", "y", "x", "z"])
    with pytest.raises(StoreError, match="repeated ids"):
        diff_stores(made(tmp_path / "a", table), made(tmp_path / "b", samples(4)))
