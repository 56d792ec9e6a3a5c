"""A source changes after it was stored: what is new is added, nothing is lost, all is told."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_files import draw
from shown import summary_text, text_of
from store_content import uncommit
from tiny_extraction import Extract

from samcache.cache.care.verify import verify
from samcache.cache.errors import StoreError
from samcache.cache.store import Store
from samcache.commands.show.extraction import describe_summary
from samcache.extract.changes import Changes
from samcache.extract.pipeline.devices.lanes import Lanes
from samcache.extract.pipeline.open_shard import OpenShard
from samcache.extract.pipeline.read import reuse
from samcache.extract.pipeline.read.rows import Row
from samcache.extract.pipeline.shard_encoder import ShardEncoder
from samcache.extract.sources.options import SourceOptions


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Twelve images of two classes in three splits."""
    for number in range(12):
        split = ("train", "train", "val", "test")[number % 4]
        draw(tmp_path / "images" / split / "ab"[number // 4 % 2] / f"{number}.png", number)
    return tmp_path / "images"


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows that went through the encoder."""
    rows: list[int] = []
    begin = ShardEncoder._begin

    def counted(
        self: ShardEncoder, shard: OpenShard, items: list[Row], lanes: Lanes
    ) -> Iterator[object]:
        rows.extend(row.number for row in items)
        return begin(self, shard, items, lanes)

    monkeypatch.setattr(ShardEncoder, "_begin", counted)
    return rows


def features(store: Store) -> dict[str, np.ndarray]:
    """Sample id -> its neck."""
    table = store.table
    neck = store.read_features("neck", 0, store.layout.rows)
    return {name: neck[row] for name, row in zip(table["id"], table["row"], strict=True)}


def same(first: Store, second: Store) -> bool:
    """Whether two stores hold the same samples with the same features, to float16's last bits.

    Images that stand in other batches come out with other last bits.
    """
    a, b = features(first), features(second)
    return a.keys() == b.keys() and all(
        np.allclose(a[name].astype(float), b[name].astype(float), atol=2e-3, rtol=2e-3)
        for name in a
    )


def test_new_images_are_appended_and_nothing_else_is_touched(
    run_extract: Extract, images: Path, encoded: list[int]
) -> None:
    store, _ = run_extract(source=images)
    before = {key: store.objects.get(key) for key in store.objects.list_objects("features")}
    encoded.clear()
    for number in (20, 21, 22):
        draw(images / "train" / "a" / f"{number}.png", number)
    grown, summary = run_extract(source=images)
    assert summary.encoded == 3
    assert len(encoded) == 3
    assert "3 images new in the source: added (train/a/20.png" in summary_text(summary)
    assert len(grown.samples) == 15
    assert (grown.samples["status"] == "ok").all()
    after = {key: grown.objects.get(key) for key in before if key.endswith("0")}
    assert all(before[key] == data for key, data in after.items())
    fresh, _ = run_extract("fresh", source=images)
    assert same(fresh, grown)
    assert verify(grown) == []
    for level, moments in fresh.read_moments().items():
        np.testing.assert_allclose(moments.mean, grown.read_moments()[level].mean, rtol=1e-5)


def test_a_source_that_did_not_change_adds_no_generation(
    run_extract: Extract, images: Path
) -> None:
    run_extract(source=images)
    store, summary = run_extract(source=images)
    assert store.generation.number == 0
    assert summary.changes == Changes()


def test_removed_images_are_told_and_dropped_only_on_request(
    run_extract: Extract, images: Path
) -> None:
    run_extract(source=images)
    (images / "train" / "a" / "0.png").unlink()
    store, summary = run_extract(source=images)
    assert "1 image no longer in the source: kept unchanged; --prune drops them" in text_of(
        describe_summary(summary)
    )
    assert "train/a/0.png" in set(store.table["id"])
    store, summary = run_extract(source=images, prune=True)
    assert "no longer in the source: dropped (train/a/0.png)" in summary_text(summary)
    assert "train/a/0.png" not in set(store.samples["id"])
    assert len(store.samples) == 11
    assert verify(store) == []


def test_changed_images_are_told_and_encoded_anew_only_on_request(
    run_extract: Extract, images: Path, encoded: list[int]
) -> None:
    before, _ = run_extract(source=images)
    old = features(before)["train/a/0.png"]
    draw(images / "train" / "a" / "0.png", 99)
    encoded.clear()
    store, summary = run_extract(source=images)
    assert "1 image with other bytes in the source: kept unchanged" in text_of(
        describe_summary(summary)
    )
    assert same(store, before)
    assert encoded == []
    _, summary = run_extract(source=images, assume_unchanged=True)
    assert summary.changes == Changes()
    store, summary = run_extract(source=images, prune=True)
    assert "encoded again (train/a/0.png)" in summary_text(summary)
    assert len(encoded) == 1
    fresh, _ = run_extract("fresh", source=images)
    assert same(store, fresh)
    assert not np.allclose(features(store)["train/a/0.png"], old, atol=2e-3, rtol=2e-3)


@pytest.fixture
def manifest(images: Path, tmp_path: Path) -> Path:
    """A manifest of the images, all of the training split."""
    rows = [f"{p.relative_to(images)},{p.parent.name},train" for p in sorted(images.rglob("*.png"))]
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(["file,class,split", *rows]))
    return path


def change(manifest: Path, before: str, after: str) -> None:
    assert before in manifest.read_text()
    manifest.write_text(manifest.read_text().replace(before, after))


KEPT = "1 image with another class in the source: labels kept unchanged; train --labels asks"
FIRST = "train/a/0.png"


def test_another_class_and_another_split_are_followed_only_on_request_and_encode_nothing(
    run_extract: Extract, images: Path, encoded: list[int], manifest: Path
) -> None:
    options = {"source": manifest, "reading": SourceOptions(root=images)}
    before, _ = run_extract(**options)
    change(manifest, f"{FIRST},a,train", f"{FIRST},b,val")
    encoded.clear()

    def run(**asked: bool) -> tuple[str, str, str]:
        store, summary = run_extract(**options, **asked)
        row = store.samples.set_index("id").loc[FIRST]
        assert row["status"] == "ok"
        return store.dataset.classes[row["label"]], row["split"], text_of(describe_summary(summary))

    label, split, told = run()
    assert (label, split) == ("a", "train")
    assert KEPT in told
    assert "1 image with another split, group or kept value in the source: kept unchanged" in told
    refused = (
        rf"other classes for 1 image of .*{FIRST}.*train with a table of labels; if .* relabel"
    )
    with pytest.raises(StoreError, match=refused) as error:
        run(prune=True)
    assert error.value.hint == "labels relabel"
    assert Store(before.location).generation == before.generation
    label, split, told = run(relabel=True)
    assert (label, split) == ("b", "train")
    assert f"1 image with another class in the source: relabelled ({FIRST})" in told
    assert run(prune=True)[:2] == ("b", "val")
    assert encoded == []


def test_an_image_that_is_encoded_again_keeps_its_class(
    run_extract: Extract, images: Path, manifest: Path
) -> None:
    options = {"source": manifest, "reading": SourceOptions(root=images)}
    (images / FIRST).write_bytes(b"not an image")
    run_extract(**options)
    draw(images / FIRST, 0)
    change(manifest, f"{FIRST},a,train", f"{FIRST},b,train")
    store, summary = run_extract(**options)
    assert summary.changes.mended == summary.changes.relabelled == (FIRST,)
    row = store.samples.set_index("id").loc[FIRST]
    assert (store.dataset.classes[row["label"]], row["status"]) == ("a", "ok")


@pytest.mark.parametrize("asked", [{}, {"prune": True}, {"relabel": True}])
def test_a_table_with_other_classes_is_a_question_for_train(
    run_extract: Extract, images: Path, manifest: Path, asked: dict[str, bool]
) -> None:
    options = {"source": manifest, "reading": SourceOptions(root=images)}
    store, _ = run_extract(**options)
    change(manifest, f"{FIRST},a,train", f"{FIRST},stroke,train")
    with pytest.raises(
        StoreError, match=r"has the classes a, b, the source also stroke, .* never change: .* train"
    ) as error:
        run_extract(**options, **asked)
    assert error.value.hint == "labels+target store"
    assert Store(store.location).generation == store.generation


def test_a_moved_image_is_copied_and_not_encoded(
    run_extract: Extract, images: Path, encoded: list[int]
) -> None:
    """Its bytes are in the store under another name."""
    run_extract(source=images)
    shutil.move(images / "train" / "a" / "0.png", images / "train" / "a" / "renamed.png")
    encoded.clear()
    store, _ = run_extract(source=images, prune=True)
    assert encoded == []
    fresh, _ = run_extract("fresh", source=images)
    assert same(store, fresh)


def test_images_of_another_store_are_copied(
    run_extract: Extract, images: Path, encoded: list[int]
) -> None:
    first, _ = run_extract("first", source=images)
    for number in (20, 21):
        draw(images / "val" / "b" / f"{number}.png", number)
    encoded.clear()
    second, _ = run_extract("second", source=images, reuse=(first.location,))
    assert len(encoded) == 2
    fresh, _ = run_extract("fresh", source=images)
    assert same(second, fresh)
    for path in fresh.arrays:
        rows = fresh.layout.rows
        found, expected = second.read(path, 0, rows), fresh.read(path, 0, rows)
        np.testing.assert_allclose(found, expected, atol=2e-3, rtol=2e-3)
    other, _ = run_extract("other", source=images, pool=1)
    with pytest.raises(StoreError, match=r"another identity.*: pool is 1 in the store, 2"):
        run_extract("third", source=images, reuse=(other.location,))


def test_images_under_any_new_names_do_not_read_a_shard_each(
    run_extract: Extract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(48):
        draw(tmp_path / "before" / "ab"[number % 2] / f"{number:02}.png", number)
        shuffled = number * 19 % 48
        draw(tmp_path / "after" / "ab"[number % 2] / f"{shuffled:02}.png", number)
    first, _ = run_extract("first", source=tmp_path / "before", shard_rows=4)
    shards: list[int] = []
    whole = reuse._read_shard
    monkeypatch.setattr(
        reuse, "_read_shard", lambda store, shard: shards.append(shard) or whole(store, shard)
    )
    _, summary = run_extract("same", source=tmp_path / "before", reuse=(first.location,))
    assert (summary.encoded, summary.copied) == (0, 48)
    assert 0 < len(shards) <= 2 * 12
    shards.clear()
    _, summary = run_extract("after", source=tmp_path / "after", reuse=(first.location,))
    assert (summary.encoded, summary.copied) == (0, 48)
    assert len(shards) < 12


def test_damaged_rows_of_another_store_are_encoded_instead(
    run_extract: Extract, images: Path, encoded: list[int]
) -> None:
    first, _ = run_extract("first", source=images)
    path = Path(first.location, "features/neck/c/0/0/0/0/0")
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(bytes(data))
    encoded.clear()
    second, _ = run_extract("second", source=images, reuse=(first.location,))
    assert len(encoded) == 1, "the others of its shard are whole"
    fresh, _ = run_extract("fresh", source=images)
    assert same(second, fresh)


def test_an_image_that_was_unreadable_is_read_again_when_its_bytes_change(
    run_extract: Extract, images: Path
) -> None:
    path = images / "train" / "a" / "0.png"
    path.write_bytes(b"not an image")
    store, summary = run_extract(source=images)
    assert list(summary.unreadable) == ["train/a/0.png"]
    draw(path, 0)
    store, summary = run_extract(source=images)
    assert "1 image unreadable before, now changed or restored: read again" in text_of(
        describe_summary(summary)
    )
    assert (store.samples["status"] == "ok").all()
    assert len(store.samples) == 12


def test_drawn_splits_stay_when_images_are_added(run_extract: Extract, tmp_path: Path) -> None:
    for number in range(20):
        draw(tmp_path / "plain" / "ab"[number % 2] / f"{number}.png", number)
    store, _ = run_extract(source=tmp_path / "plain")
    before = store.table.set_index("id")["split"]
    for number in range(30, 40):
        draw(tmp_path / "plain" / "ab"[number % 2] / f"{number}.png", number)
    store, _ = run_extract(source=tmp_path / "plain")
    after = store.table.set_index("id")["split"]
    assert (after[before.index] == before).all()
    assert set(after.drop(before.index)) == {"train", "val", "test"}


def test_a_row_that_left_the_source_before_it_was_encoded_says_so(
    run_extract: Extract, images: Path
) -> None:
    store, _ = run_extract(source=images)
    uncommit(store, 1)
    gone = store.table["id"].iloc[9]
    (images / gone).unlink()
    _, summary = run_extract(source=images)
    assert summary.unreadable == {gone: "it is no longer in the source"}


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(
        st.tuples(st.dictionaries(st.integers(0, 9), st.integers(0, 5)), st.booleans()),
        min_size=1,
        max_size=4,
    )
)
def test_after_any_history_a_pruned_store_is_what_a_fresh_one_would_be(
    run_extract: Extract, tmp_path_factory: pytest.TempPathFactory, steps: list
) -> None:  # type: ignore[type-arg]
    """Each step is a source: image number -> seed of its pixels. Three images always stay."""
    root = tmp_path_factory.mktemp("history")
    store: Store | None = None
    for contents, prune in [*steps, (steps[-1][0], True)]:
        shutil.rmtree(root / "images", ignore_errors=True)
        for place, split in enumerate(("train", "val", "test")):
            draw(root / "images" / split / "a" / "x.png", 100 + place)
        for number, seed in contents.items():
            draw(root / "images" / "train" / "a" / f"{number}.png", seed)
        store, _ = run_extract(store=root / "s.zarr", source=root / "images", prune=prune)
        assert store.list_pending() == []
        assert verify(store) == []
    fresh, _ = run_extract(store=root / "fresh.zarr", source=root / "images")
    assert store is not None
    assert same(store, fresh)
    columns = ["id", "label", "split", "status", "sha256"]
    assert sorted(map(tuple, store.samples[columns].to_numpy())) == sorted(
        map(tuple, fresh.samples[columns].to_numpy())
    )
