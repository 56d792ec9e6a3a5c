"""What a first run was not told, or a run of a part leaves out, is mended by the next."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from image_files import draw
from shown import summary_text, text_of
from store_content import uncommit
from tiny_extraction import Extract

from samcache.cache.errors import ConfigError, SourceError
from samcache.cache.format.samples import SPLITS
from samcache.cache.labels.duplicates import find_split_groups
from samcache.cache.progress import Remark
from samcache.commands.show.extraction import describe_summary
from samcache.extract.changes import Changes, compare, make_next_table
from samcache.extract.check import check_source
from samcache.extract.options import ExtractOptions
from samcache.extract.pipeline.read.read_ahead import Work
from samcache.extract.plan import plan_run
from samcache.extract.run import extract
from samcache.extract.sources.open import open_source
from samcache.extract.sources.options import SourceOptions
from samcache.extract.target import open_limited

COUNT = 40


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Images of two classes and of ten patients, and a manifest beside their folder."""
    lines = ["file,class,patient"]
    for number in range(COUNT):
        draw(tmp_path / "images" / f"{number}.png", number)
        lines.append(f"{number}.png,{'ab'[number % 2]},p{number // 4}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_a_source_of_which_nothing_can_be_read_begins_no_store(
    run_extract: Extract, images: Path
) -> None:
    with pytest.raises(SourceError, match=r"none .* can be read, first 0.png: .*root folder"):
        run_extract(source=images / "labels.csv")
    reading = SourceOptions(root=images / "images")
    _, summary = run_extract(source=images / "labels.csv", reading=reading)
    assert (summary.encoded, summary.unreadable) == (COUNT, {})


def test_a_store_all_of_whose_images_were_replaced_is_encoded_anew(
    run_extract: Extract, images: Path
) -> None:
    reading = SourceOptions(root=images / "images")
    run_extract(source=images / "labels.csv", reading=reading)
    for number in range(COUNT):
        draw(images / "images" / f"{number}.png", 100 + number)
    _, summary = run_extract(source=images / "labels.csv", reading=reading, prune=True)
    assert summary.encoded == COUNT
    assert f"{COUNT} images with other bytes in the source: encoded again" in text_of(
        describe_summary(summary)
    )
    _, again = run_extract(source=images / "labels.csv", reading=reading, prune=True)
    assert (again.encoded, again.changes) == (0, Changes())


@pytest.mark.parametrize("name", ["group", "patient", "Patient ID", "lesion_id", "subject-id"])
def test_a_column_of_patients_that_is_not_used_is_told(
    images: Path, checkpoint: Path, name: str
) -> None:
    manifest = images / "labels.csv"
    manifest.write_text(manifest.read_text().replace("patient", name, 1))
    reading = SourceOptions(root=images / "images")
    options = ExtractOptions(manifest, images / "s.zarr", "vit_tiny", checkpoint, limit=8, pool=2)
    told = list[Remark]()
    runs: list[Callable[[], object]] = [
        lambda: check_source(open_source(manifest, reading).limit(4), on_remark=told.append),
        lambda: plan_run(replace(options, reading=reading), on_remark=told.append),
        lambda: extract(replace(options, reading=reading), on_remark=told.append),
    ]
    for run in runs:
        told.clear()
        run()
        [line] = [one for one in told if one.hint == "group_column"]
        assert f"column {name!r} is not used" in line.text
    named = open_source(manifest, replace(reading, group=name))
    assert named.remarks == ()


@pytest.mark.parametrize(
    ("column", "values"),
    [("patient", ["p1", "p2", "", ""]), ("patience", ["1"] * 4), ("group", ["a", "b"] * 2)],
)
def test_columns_that_are_no_groups_or_each_images_own_are_not_told(
    tmp_path: Path, column: str, values: list[str]
) -> None:
    rows = [f"{number}.png,{value},{'ab'[number % 2]}" for number, value in enumerate(values)]
    (tmp_path / "labels.csv").write_text("\n".join([f"file,{column},class", *rows]))
    for number in range(len(values)):
        (tmp_path / f"{number}.png").touch()
    label = column if column == "group" else None
    reading = SourceOptions(label=label)
    assert open_source(tmp_path / "labels.csv", reading).remarks == ()


def test_groups_that_were_not_known_when_splits_were_drawn_are_refused(
    run_extract: Extract, images: Path
) -> None:
    by_patient = SourceOptions(root=images / "images", group="patient")
    run_extract(source=images / "labels.csv", reading=SourceOptions(root=images / "images"))
    parted = r"with the splits that .* has, \d+ groups? (is|are) in more than one"
    with pytest.raises(SourceError, match=parted):
        run_extract(source=images / "labels.csv", reading=by_patient, prune=True)
    store, _ = run_extract(
        source=images / "labels.csv", reading=by_patient, prune=True, allow_split_groups=True
    )
    assert find_split_groups(store.samples)


def test_a_part_of_the_source_leaves_the_rest_for_another_run(
    run_extract: Extract, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {
        "source": images / "labels.csv",
        "reading": SourceOptions(root=images / "images"),
        "shard_rows": 4,
    }
    pending = Work.list_pending
    monkeypatch.setattr(Work, "list_pending", lambda work: pending(work)[:-5])
    store, _ = run_extract(**options)
    monkeypatch.undo()
    missing = store.samples["status"] == "missing"
    assert missing.sum() == 5 * 4
    store, part = run_extract(**options, limit=6)
    assert part.unreadable == {}
    assert "outside of --limit: kept" in summary_text(part)
    assert (store.samples["status"] != "unreadable").all()
    store, whole = run_extract(**options)
    assert (store.samples["status"] == "ok").all()
    assert whole.encoded + part.encoded == missing.sum()
    assert store.layout.shards == COUNT // 4, "no image has a row twice"


def test_a_store_within_the_source_would_be_a_class_of_it(images: Path, checkpoint: Path) -> None:
    options = ExtractOptions(
        images / "images", images / "images" / "team.zarr", "vit_tiny", checkpoint
    )
    with pytest.raises(ConfigError, match=r"is inside .* give a path outside"):
        open_limited(options)


def test_a_limit_and_prune_would_drop_the_rest(run_extract: Extract) -> None:
    with pytest.raises(ConfigError, match="a limit and pruning exclude each other"):
        run_extract(limit=8, prune=True)


def test_an_image_that_is_back_is_read_by_ranks_too(
    run_extract: Extract, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"source": images / "labels.csv", "reading": SourceOptions(root=images / "images")}
    store, _ = run_extract(**options)
    uncommit(store, 0)
    lines = (images / "labels.csv").read_text().splitlines()
    (images / "labels.csv").write_text("\n".join(lines[:1] + lines[2:]) + "\n")
    _, summary = run_extract(**options)
    assert summary.unreadable == {"0.png": "it is no longer in the source"}
    (images / "labels.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    store, summary = run_extract(**options)
    assert summary.unreadable == {}
    assert (store.samples["status"] == "ok").all()
    told = f"{COUNT} stored images: not compared with the source's bytes"
    assert told in summary_text(summary)


def test_an_image_that_can_no_longer_be_read_is_told_and_kept(
    run_extract: Extract, images: Path
) -> None:
    options = {"source": images / "labels.csv", "reading": SourceOptions(root=images / "images")}
    run_extract(**options)
    (images / "images" / "5.png").unlink()
    store, summary = run_extract(**options)
    assert "1 image cannot be read now: kept unchanged (5.png)" in text_of(
        describe_summary(summary)
    )
    assert (store.samples["status"] == "ok").all()
    assert set(store.samples["split"]) == set(SPLITS)


def test_a_table_of_another_kind_of_text_is_the_same_table(
    run_extract: Extract, images: Path
) -> None:
    """Else every run would write it anew, and a job of several ranks without an end."""
    reading = SourceOptions(root=images / "images", group="patient")
    store, _ = run_extract(source=images / "labels.csv", reading=reading)
    given = store.table.drop(columns="row").astype({"id": object, "split": object, "group": object})
    assert make_next_table(given, store, compare(given, store), prune=True) is None
