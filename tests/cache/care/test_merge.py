"""Merged stores hold each input's rows bit for bit, once; what contradicts itself is refused."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from store_content import IDENTITY, SHAPES, content, create, full_store, samples, uncommit

from samcache.cache.care import merge as merging
from samcache.cache.care.merge import merge_stores
from samcache.cache.claims import Claims
from samcache.cache.commit import commit_shard
from samcache.cache.create import add_generation, create_store
from samcache.cache.errors import ConfigError, SourceError, StoreError
from samcache.cache.format.commit_record import Commit, make_commit_key, make_shard_name
from samcache.cache.format.description import Dataset, Description
from samcache.cache.format.identity import Identity
from samcache.cache.format.shards import DamagedShardError
from samcache.cache.objects.location import open_objects
from samcache.cache.store import Store

TOY = Dataset("toy", ("a", "b"), "source")


def made(
    path: Path,
    ids: list[str],
    per_shard: int = 3,
    failed: tuple[str, ...] = (),
    dropped: tuple[str, ...] = (),
    dataset: Dataset = TOY,
    identity: Identity = IDENTITY,
    split: Callable[[str], str] = lambda _: "train",
    group: Callable[[str], str] = lambda _: "",
    classes: Callable[[str], str] = lambda name: "ab"[len(name) % 2],
) -> Store:
    """A complete store whose sources, and so its contents, follow from the ids."""
    table = pd.DataFrame(
        {
            "id": ids,
            "label": [dataset.classes.index(classes(name)) for name in ids],
            "split": [split(name) for name in ids],
            "group": [group(name) for name in ids],
        }
    )
    description = Description(identity, dataset, per_shard, SHAPES)
    store = create_store(path, open_objects(path), description, table)
    for shard in range(store.layout.shards):
        start, stop = store.layout.find_rows(shard)
        known = content(store, shard)
        blocks = {
            path: np.stack([value_of(name, block[0]) for name in ids[start:stop]])
            for path, block in known.blocks.items()
        }
        failures = {row: f"torn: {ids[row]}" for row in range(start, stop) if ids[row] in failed}
        sources = tuple(f"{hash_of(name):064x}" for name in ids[start:stop])
        assert commit_shard(
            store, shard, replace(known, blocks=blocks, failures=failures, sources=sources)
        )
    if dropped:
        kept = store.table[~store.table["id"].isin(dropped)].reset_index(drop=True)
        return add_generation(store, kept)
    return Store(path)


def hash_of(name: str) -> int:
    return int.from_bytes(name.encode(), "big") + 1


def value_of(name: str, like: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(hash_of(name))
    values = rng.integers(0, 255, like.shape) if like.dtype == np.uint8 else rng.random(like.shape)
    return values.astype(like.dtype)


def rows_by_id(store: Store) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Each sample with all that is known of it, and the bytes of its rows."""
    blocks = {path: store.read(path, 0, store.layout.rows) for path in store.arrays}
    for line in store.samples.to_dict("records"):
        known = tuple(line[name] for name in ("split", "group", "status", "reason", "sha256"))
        label = store.dataset.classes[line["label"]]
        data = tuple(
            (path, block[line["row"]].tobytes() if line["status"] == "ok" else b"")
            for path, block in blocks.items()
        )
        yield line["id"], (label, *known, *data)


NAMES = st.lists(st.text("xyz", min_size=1, max_size=3), min_size=1, max_size=9, unique=True)


@settings(max_examples=10, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    inputs=st.lists(
        st.tuples(NAMES, st.integers(1, 5), st.permutations(["a", "b", "c"]), st.randoms()),
        min_size=1,
        max_size=3,
    )
)
def test_any_stores_are_merged_row_by_row(
    tmp_path_factory: pytest.TempPathFactory,
    inputs: list[tuple[list[str], int, list[str], object]],
) -> None:
    folder = tmp_path_factory.mktemp("m")
    stores = []
    for number, (ids, per_shard, classes, random) in enumerate(inputs):
        dropped = tuple(name for name in ids if random.random() < 0.3)[: len(ids) - 1]  # type: ignore[attr-defined]
        failed = tuple(name for name in ids if random.random() < 0.3)  # type: ignore[attr-defined]
        dataset = Dataset(f"set {number}", tuple(classes), "source")
        stores.append(made(folder / f"{number}", ids, per_shard, failed, dropped, dataset))
    merged = merge_stores(stores, folder / "merged", False)
    expected: dict[str, tuple[object, ...]] = {}
    for store in stores:
        for name, known in rows_by_id(store):
            if name not in expected or (expected[name][3] != "ok" and known[3] == "ok"):
                expected[name] = known
    assert dict(rows_by_id(merged)) == expected
    assert list(merged.samples["id"]) == list(expected)
    assert merged.list_pending() == []
    assert merged.rows_per_shard == stores[0].rows_per_shard
    assert list(merged.table["row"]) == list(range(len(expected)))


def test_merging_one_store_compacts_it(tmp_path: Path) -> None:
    store = made(tmp_path / "a", list("pqrstuvw"), 3, failed=("r",), dropped=("p", "q", "s"))
    merged = merge_stores([store], tmp_path / "m", False)
    assert dict(rows_by_id(merged)) == dict(rows_by_id(store))
    assert merged.layout.rows == 5
    assert merged.layout.shards == 2
    assert merged.dataset == replace(store.dataset, classes=("b",)), "no sample is of class a"


def test_names_and_split_origins_are_joined(tmp_path: Path) -> None:
    a = made(tmp_path / "a", ["p", "qq"], dataset=Dataset("one", ("a", "b"), "source"))
    b = made(tmp_path / "b", ["q"], dataset=Dataset("two", ("b", "a"), "drawn"))
    c = made(tmp_path / "c", ["rr"], dataset=Dataset("one", ("z", "a"), "source"))
    merged = merge_stores([a, b, c], tmp_path / "m", False)
    assert merged.dataset == Dataset("one + two", ("a", "b"), "source + drawn"), (
        "none is of class z"
    )
    assert list(merged.table["label"]) == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("field", "value"),
    [("weights", "1" * 64), ("pool", 2), ("dtype", "float32"), ("preprocessing", "medsam")],
)
def test_stores_of_another_identity_are_refused_by_name(
    tmp_path: Path, field: str, value: object
) -> None:
    a = made(tmp_path / "a", ["p"])
    b = made(tmp_path / "b", ["q"], identity=replace(IDENTITY, **{field: value}))
    with pytest.raises(StoreError, match=f"its {field} is {value!r}"):
        merge_stores([a, b], tmp_path / "m", False)
    assert not (tmp_path / "m").exists()


def test_stores_of_other_map_shapes_are_refused(tmp_path: Path) -> None:
    a = made(tmp_path / "a", ["p"])
    description = Description(IDENTITY, a.dataset, 3, {**SHAPES, "neck": (3, 1, 1)})
    b = create_store(tmp_path / "b", open_objects(tmp_path / "b"), description, samples(1))
    with pytest.raises(StoreError, match="level shapes"):
        merge_stores([a, b], tmp_path / "m", False)


def test_an_incomplete_store_is_refused(tmp_path: Path) -> None:
    a = made(tmp_path / "a", ["p"])
    b = create(tmp_path / "b")
    commit_shard(b, 0, content(b, 0, holes=(2,)))
    with pytest.raises(StoreError, match="b lacks 7 of 10 images: finish samcache extract"):
        merge_stores([a, Store(tmp_path / "b")], tmp_path / "m", False)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("column", "changes"),
    [
        ("split", {"split": lambda _: "test"}),
        ("group", {"group": lambda _: "patient 7"}),
        ("class", {"classes": lambda _: "a"}),
    ],
)
def test_a_sample_that_contradicts_its_copy_is_refused(
    tmp_path: Path, column: str, changes: dict[str, Callable[[str], str]]
) -> None:
    a, b = made(tmp_path / "a", ["p", "q"]), made(tmp_path / "b", ["r", "q"], **changes)
    with pytest.raises(StoreError, match=rf"^'q' is in .*a and .*b with another {column}"):
        merge_stores([a, b], tmp_path / "m", False)
    assert not (tmp_path / "m").exists()


def test_a_sample_of_other_source_bytes_is_refused(tmp_path: Path) -> None:
    a, b = full_store(tmp_path / "a"), full_store(tmp_path / "b", rows=8)
    other = create(tmp_path / "c", rows=4)
    commit_shard(other, 0, content(other, 0, sources=("e" * 64,) * 4))
    assert len(merge_stores([a, b], tmp_path / "m", False).table) == 10
    with pytest.raises(StoreError, match="with another sha256"):
        merge_stores([a, Store(tmp_path / "c")], tmp_path / "n", False)


def test_a_group_in_two_splits_is_refused_unless_allowed(tmp_path: Path) -> None:
    a = made(tmp_path / "a", ["p"], group=lambda _: "patient 7")
    b = made(tmp_path / "b", ["q"], group=lambda _: "patient 7", split=lambda _: "test")
    with pytest.raises(
        SourceError, match=r"in the merged table, 1 group is .* 'patient 7' in test and train"
    ):
        merge_stores([a, b], tmp_path / "m", False)
    assert len(merge_stores([a, b], tmp_path / "m", True).table) == 2


def test_an_interrupted_merge_goes_on_with_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = made(tmp_path / "a", list("pqrs"), 2), made(tmp_path / "b", list("tuvw"), 3)
    commit = merging.commit_shard

    def dies(store: Store, shard: int, *rest: object) -> bool:
        if shard == 2:
            raise KeyboardInterrupt
        return commit(store, shard, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(merging, "commit_shard", dies)
        with pytest.raises(KeyboardInterrupt):
            merge_stores([a, b], tmp_path / "m", False)
    begun = Store(tmp_path / "m")
    assert begun.list_pending() == [2, 3]
    before = begun.objects.get(make_commit_key(0))
    merged = merge_stores([a, b], tmp_path / "m", False)
    assert merged.objects.get(make_commit_key(0)) == before
    assert dict(rows_by_id(merged)) == {**dict(rows_by_id(a)), **dict(rows_by_id(b))}
    assert merge_stores([a, b], tmp_path / "m", False).list_pending() == []


def test_what_is_not_the_merge_of_these_is_left_alone(tmp_path: Path) -> None:
    a, b = made(tmp_path / "a", ["p", "q"]), made(tmp_path / "b", ["r"])
    merge_stores([a], tmp_path / "m", False)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for destination in ("m", "a"):
        with pytest.raises(StoreError, match="not the merge of these"):
            merge_stores([a, b], tmp_path / destination, False)
    with pytest.raises(StoreError, match="not the merge of these"):
        merge_stores([a], tmp_path / "a", False)
    (tmp_path / "a" / "zarr.json").rename(tmp_path / "root")
    with pytest.raises(StoreError, match="what is left of another store"):
        merge_stores([b], tmp_path / "a", False)
    (tmp_path / "root").rename(tmp_path / "a" / "zarr.json")
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_a_merge_whose_rows_were_moved_since_is_left_alone(tmp_path: Path) -> None:
    a = made(tmp_path / "a", list("pqrs"), 2)
    merged = merge_stores([a], tmp_path / "m", False)
    add_generation(merged, merged.table.assign(row=[0, 1, 2, 4]))
    with pytest.raises(StoreError, match="its rows have moved"):
        merge_stores([a], tmp_path / "m", False)


def test_a_shard_that_another_process_holds_is_left_to_it(tmp_path: Path) -> None:
    a = made(tmp_path / "a", list("pqrs"), 2)
    merge_stores([a], tmp_path / "m", False)
    uncommit(Store(tmp_path / "m"), 1)
    with Claims(open_objects(tmp_path / "m")) as other:
        assert other.take(make_shard_name(1))
        with pytest.raises(StoreError, match=r"another process is writing 1 shard:"):
            merge_stores([a], tmp_path / "m", False)
        assert Store(tmp_path / "m").list_pending() == [1]
    assert merge_stores([a], tmp_path / "m", False).list_pending() == []


def test_a_damaged_input_is_named_and_not_copied(tmp_path: Path) -> None:
    a = made(tmp_path / "a", list("pqrs"), 2)
    damaged = tmp_path / "a" / "images/c/1/0/0/0"
    data = bytearray(damaged.read_bytes())
    data[5] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(StoreError, match=r"a/images/c/1/0/0/0") as raised:
        merge_stores([a], tmp_path / "m", False)
    assert not isinstance(raised.value, DamagedShardError)
    assert Store(tmp_path / "m").list_pending() == [1]


def test_each_source_object_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = made(tmp_path / "a", ["p"], 2), made(tmp_path / "b", list("rstuvwxyz"), 5)
    read, asked = Store.read_shard, []

    def counted(self: Store, spec: object, commit: Commit, *rest: object) -> None:
        asked.append((self.location, spec, commit.shard))
        read(self, spec, commit, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "read_shard", counted)
    merge_stores([a, b], tmp_path / "m", False)
    assert len(asked) == len(set(asked)) == 3 * len(a.arrays)


def test_buckets_are_merged(s3: str, tmp_path: Path) -> None:
    a, b = full_store(f"{s3}/a.zarr", rows=5), full_store(tmp_path / "b", rows=8)
    merged = merge_stores([a, b], f"{s3}/m.zarr", False)
    assert dict(rows_by_id(merged)) == {**dict(rows_by_id(b)), **dict(rows_by_id(a))}


@pytest.fixture
def sites(tmp_path: Path) -> list[Store]:
    """Two stores with the id "q" of different images, and each with a patient "1"."""
    groups: Callable[[str], str] = {"p": "", "q": "1", "r": "1"}.__getitem__
    a = made(tmp_path / "a", ["p", "q"], group=groups)
    return [a, made(tmp_path / "b", ["q", "r"], group=groups, split=lambda _: "test")]


def test_prefixes_keep_two_sites_apart(sites: list[Store], tmp_path: Path) -> None:
    both = tmp_path / "m", False
    with pytest.raises(
        StoreError, match=r"1 id with such copies \('q'\): drop them from one store or"
    ):
        merge_stores(sites, *both)
    merged = merge_stores(sites, *both, ("A", "B/mri"))
    assert list(merged.table["id"]) == ["A/p", "A/q", "B/mri/q", "B/mri/r"]
    assert list(merged.table["group"]) == ["", "A/1", "B/mri/1", "B/mri/1"]
    stored = dict(rows_by_id(merged))
    for prefix, store in zip(("A/", "B/mri/"), sites, strict=True):
        for name, (label, split, group, *rest) in rows_by_id(store):
            assert stored[prefix + name][:2] == (label, split)
            assert stored[prefix + name][3:] == tuple(rest)  # status, reason, sha256, every row
            assert stored[prefix + name][2] == (group and prefix + str(group))
    assert [one["prefix"] for one in merged.provenance["merged"]] == ["A", "B/mri"]
    assert merge_stores(sites, *both, ("A", "B/mri")).list_pending() == []  # the same goes on
    with pytest.raises(StoreError, match="not the merge of these"):
        merge_stores(sites, *both, ("A", "C"))


@pytest.mark.parametrize(
    "prefixes",
    [
        *[("A",), ("A", "B", "C"), ("A", "a" * 101)],
        *[("A", odd) for odd in ("", ".", "..", "a/../b", "/a", "a/", "a//b", "a\\b")],
        *[("A", odd) for odd in ("a\nb", "\u202ea", "a\0", "\x1b[2J")],
    ],
    ids=ascii,
)
def test_prefixes_that_do_not_fit_are_refused(
    sites: list[Store], tmp_path: Path, prefixes: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError, match=r"^expected.*prefix.*: give") as refused:
        merge_stores(sites, tmp_path / "m", False, prefixes)
    assert refused.value.hint == "prefixes"
    assert not (tmp_path / "m").exists()


def test_a_store_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "a", list("pq"), 2)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    both = [Store(tmp_path / "a"), Store(tmp_path / "link")]
    with pytest.raises(ConfigError, match="a is given twice: give each store once"):
        merge_stores(both, tmp_path / "m", False, ("A", "B"))
