"""--plan tells what the run then does, for any state of the store, and writes nothing."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from shown import summary_text, text_of
from store_content import uncommit
from tiny_extraction import Extract, write_npz

from samcache.cache.care.info import count_bytes
from samcache.cache.errors import StoreError
from samcache.cache.store import Store
from samcache.commands.show.extraction import describe_plan, plan_to_json
from samcache.extract.options import ExtractOptions
from samcache.extract.plan import Plan, Speed, measure_speed, plan_run
from samcache.extract.sources.base import Source, SourceImage


@pytest.fixture
def options(npz: Path, checkpoint: Path, tmp_path: Path) -> dict[str, Any]:
    """The options of ``run_extract``."""
    return {
        "source": npz,
        "store": tmp_path / "toy.zarr",
        "encoder": "vit_tiny",
        "checkpoint": checkpoint,
        "pool": 2,
        "batch_size": 3,
        "shard_rows": 8,
    }


def plan(options: dict[str, Any], **changes: Any) -> Plan:
    return plan_run(ExtractOptions(**{**options, **changes}))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_new_store_is_told_to_the_byte(
    options: dict[str, Any], run_extract: Extract, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    told = plan(options)
    assert sorted(tmp_path.rglob("*")) == before, "not even a folder was made"
    assert (told.exists, told.images, told.rows, told.shards) == (False, 40, 40, 5)
    store, _ = run_extract()
    assert told.bytes == {path: count_bytes(store, path) for path in store.arrays}
    written = [path for path in Path(store.location).rglob("*") if path.is_file()]
    data = [path for path in written if "c" in path.parts and "samples" not in path.parts]
    commits = [path for path in written if path.match("commits/0*/zarr.json")]
    assert told.objects == len(data) + len(commits)


@pytest.mark.parametrize(("device", "expected"), [("cpu", 60.0), ("cuda", 0.3)])
def test_a_gpus_first_batch_which_compiles_is_not_the_estimate(
    monkeypatch: pytest.MonkeyPatch, device: str, expected: float
) -> None:
    clock, costs = [0.0], iter([60.0, 0.3, 0.3])

    def encode(_: object) -> list[object]:
        clock[0] += next(costs)
        return []

    inner = SimpleNamespace(identity=None, device=torch.device(device))
    encoder = SimpleNamespace(encoder=inner, batch=SimpleNamespace(images=1), encode=encode)
    monkeypatch.setattr("samcache.extract.plan.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr("samcache.extract.plan.read_probe_images", lambda *_: [None])
    speed = measure_speed(SimpleNamespace(limit=lambda _: None), encoder)  # type: ignore[arg-type]
    assert speed is not None
    assert speed.encode == pytest.approx(expected)


def test_what_is_committed_is_not_told_again(options: dict[str, Any], run_extract: Extract) -> None:
    store, _ = run_extract()
    folder = Path(store.location)
    assert (plan(options).rows, plan(options).objects) == (0, 0)
    for shard in (1, 3):
        uncommit(store, shard)
    before = files(folder)
    told = plan(options, shard_rows=64)
    assert files(folder) == before
    assert (told.exists, told.images, told.rows, told.shards) == (True, 40, 16, 2)
    assert told.objects == 2 * (len(store.arrays) + 1)
    assert "exists: 40 images, 16 to encode" in text_of(describe_plan(told))


def test_new_images_of_the_source_are_told(
    options: dict[str, Any], run_extract: Extract, tmp_path: Path
) -> None:
    run_extract()
    larger = write_npz(tmp_path / "larger.npz", (24, 8, 14))
    told = plan(options, source=larger)
    assert (told.images, told.rows, told.shards) == (46, 6, 1)
    assert "6 images new in the source" in text_of(describe_plan(told))
    store, summary = run_extract(source=larger)
    assert (summary.encoded, summary.copied) == (6, 0)
    assert told.bytes["images"] == store.commits[5].objects["images/c/5/0/0/0"].bytes


def test_shards_with_images_beyond_the_limit_are_not_told(
    options: dict[str, Any], run_extract: Extract
) -> None:
    run_extract(limit=12)
    store, _ = run_extract()
    for shard in (0, 3):
        uncommit(store, shard)
    told = plan(options, limit=12)
    assert (told.rows, told.shards, told.objects) == (8, 1, len(store.arrays) + 1)
    store, summary = run_extract(limit=12)
    assert (summary.encoded, store.list_pending()) == (8, [3])
    assert told.bytes["images"] == store.commits[0].objects["images/c/0/0/0/0"].bytes


def test_what_reuse_would_copy_is_not_told_as_to_encode(
    options: dict[str, Any], run_extract: Extract, tmp_path: Path
) -> None:
    run_extract()
    larger = write_npz(tmp_path / "larger.npz", (24, 8, 14))
    other = {"source": larger, "store": tmp_path / "other.zarr"}
    again = {**other, "reuse": (str(options["store"]),)}
    told = plan(options, **again)
    assert (told.images, told.rows, told.copied) == (46, 6, 40)
    assert "46 images, 6 to encode, 40 to copy" in text_of(describe_plan(told))
    assert not (tmp_path / "other.zarr").exists()
    store, summary = run_extract(**again)
    assert (summary.encoded, summary.copied) == (told.rows, told.copied)
    uncommit(store, 0)
    told = plan(options, **again)
    assert (told.rows, told.copied, told.speed) == (0, 8, None), "nothing left to measure for"


def test_a_moved_image_is_told_as_copied(
    options: dict[str, Any], run_extract: Extract, tmp_path: Path
) -> None:
    names = [f"{label}/{number}.png" for label in "ab" for number in range(10)]
    for shade, name in enumerate(names):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (shade, shade, shade)).save(path)
    changes = {"source": tmp_path / "images", "prune": True}
    run_extract(**changes)
    (tmp_path / "images/a/0.png").rename(tmp_path / "images/a/moved.png")
    Image.new("RGB", (20, 20), (99, 0, 0)).save(tmp_path / "images/a/new.png")
    told = plan(options, **changes)
    assert (told.images, told.rows, told.copied) == (21, 1, 1)
    _, summary = run_extract(**changes)
    assert (summary.encoded, summary.copied) == (1, 1)
    assert "1 encoded, 1 copied in this run" in summary_text(summary)


def test_a_store_to_reuse_of_another_identity_is_refused(
    options: dict[str, Any], run_extract: Extract, tmp_path: Path
) -> None:
    run_extract()
    with pytest.raises(StoreError, match=r"another identity.*: pool is 2 in the store"):
        plan(options, pool=1, store=tmp_path / "other.zarr", reuse=(str(options["store"]),))


def test_other_settings_are_refused_as_by_the_run(
    options: dict[str, Any], run_extract: Extract
) -> None:
    run_extract()
    with pytest.raises(StoreError, match="pool is 2 in the store, 1 in this run"):
        plan(options, pool=1)


def test_a_remote_store_is_told_and_untouched(
    options: dict[str, Any], run_extract: Extract, s3: str
) -> None:
    from samcache.cache.objects.location import open_objects

    url = f"{s3}/planned.zarr"
    assert plan(options, store=url).rows == 40
    assert open_objects(url).list_children("") == ([], [])
    run_extract(store=url)
    assert plan(options, store=url).rows == 0
    assert Store(url).list_pending() == []


def test_files_that_the_run_would_pass_over_are_told(
    options: dict[str, Any], tmp_path: Path
) -> None:
    for name in ("a/0.png", "b/0.png"):
        (tmp_path / "images" / name).parent.mkdir(parents=True)
        Image.new("RGB", (20, 20)).save(tmp_path / "images" / name)
    (tmp_path / "images/a/notes.txt").write_text("")
    told = plan(options, source=tmp_path / "images")
    assert "1 file was passed over (first: a/notes.txt)" in text_of(describe_plan(told))
    assert plan_to_json(told)["passed_over"] == ("a/notes.txt",)


def test_time_is_measured_and_shared_by_workers(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = plan(options)
    assert told.speed is not None
    assert told.speed.encode > 0
    assert told.speed.images >= 3
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    shared = plan(options)
    assert (shared.workers, shared.rows) == (4, 40), "the whole job is told"
    assert "with 4 workers" in text_of(describe_plan(shared))


def test_the_slower_of_encoding_and_reading_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert (
        Speed(encode=0.5, read=0.1, images=8, device="cpu").estimate_seconds(100, workers=4) == 12.5
    )
    assert (
        Speed(encode=0.5, read=4.0, images=8, device="cpu").estimate_seconds(100, workers=1) == 200
    )


def test_without_a_readable_image_there_is_no_estimate(
    options: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "labels.csv").write_text("file,class\na.png,x\nb.png,y\n")
    told = plan(options, source=tmp_path / "labels.csv")
    assert told.seconds is None
    assert "about" not in text_of(describe_plan(told))
    data = json.loads(json.dumps(plan_to_json(told)))
    keys = (
        "added removed relabelled regrouped changed mended unreachable uncompared"  # they are read
    )
    assert list(data["changes"]) == keys.split()


class Synthetic(Source):
    """Many equal images that take no memory."""

    def __init__(self, samples: pd.DataFrame) -> None:
        super().__init__("many", ("a", "b"), samples, "source")

    def read_image(self, row: int) -> SourceImage:
        return SourceImage(f"{row:064x}", partial(Image.new, "RGB", (8, 8)))

    def take(self, rows: list[int]) -> "Synthetic":
        return Synthetic(self.samples.iloc[rows])


def test_a_million_images_are_planned(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 1_000_000
    numbers = np.arange(count)
    samples = pd.DataFrame(
        {
            "id": [f"images/{number:07d}.png" for number in range(count)],
            "label": numbers % 2,
            "split": np.where(numbers % 10 < 7, "train", np.where(numbers % 10 < 8, "val", "test")),
            "group": "",
        }
    )
    monkeypatch.setattr("samcache.extract.target.open_source", lambda *_: Synthetic(samples))
    told = plan(options, shard_rows=64)
    assert (told.rows, told.shards, told.objects) == (count, 15_625, 15_625 * 8)
    neck = 256 * 2 * 2 * 2 + 4  # float16 and a checksum
    assert told.bytes["features/neck"] == count * neck + 15_625 * (64 * 16 + 4)
