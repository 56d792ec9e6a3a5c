"""Batches follow memory, order and composition follow the shards, reading stays within bounds."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_extraction import Extract, write_npz

from samcache.cache.errors import ConfigError
from samcache.cache.progress import Remark
from samcache.cache.store import Store
from samcache.extract.encoders.networks.vit import ViTLevels
from samcache.extract.pipeline.batch_encoder import BatchEncoder
from samcache.extract.pipeline.devices.batch_size import BatchSize
from samcache.extract.pipeline.devices.lanes import count_lanes
from samcache.extract.pipeline.progress import JobProgress
from samcache.extract.pipeline.ranks import Division
from samcache.extract.pipeline.read.read_ahead import Work
from samcache.extract.pipeline.read.reuse import KnownRows
from samcache.extract.pipeline.shard_encoder import ShardEncoder
from samcache.extract.sources.arrays.npz import NpzSource

OUT_OF_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("Triton Error [CUDA]: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
)


@pytest.fixture(params=OUT_OF_MEMORY, ids=["torch", "triton", "cublas"])
def small_memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A device that holds three images; the batches that were tried on it, one after another."""
    monkeypatch.setattr("samcache.extract.pipeline.devices.batch_size.count_lanes", lambda: 1)
    tried: list[int] = []
    forward = ViTLevels.forward

    def limited(self: ViTLevels, x: torch.Tensor) -> dict[str, torch.Tensor]:
        if x.device.type != "meta":
            tried.append(len(x))
            if len(x) > 3:
                raise request.param
        return forward(self, x)

    monkeypatch.setattr(ViTLevels, "forward", limited)
    return tried


def features(store: Store) -> list[bytes]:
    return [store.read(path, 0, 40).tobytes() for path in store.arrays]


def test_out_of_memory_halves_the_batch_and_changes_no_byte(
    run_extract: Extract, small_memory: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = run_extract("two", batch_size=2)
    small_memory.clear()
    chosen = classmethod(lambda *_: BatchSize(8, fixed=False))
    monkeypatch.setattr(BatchSize, "choose", chosen)
    store, summary = run_extract("auto", batch_size=None)
    of_the_probe, of_the_run = [8, 4] + [2] * 4, [8, 4] + [2] * 20
    assert small_memory == of_the_probe + of_the_run
    assert summary.encoded == 40
    assert features(store) == features(expected)


def test_a_batch_size_that_was_asked_for_is_not_changed(
    run_extract: Extract, small_memory: list[int]
) -> None:
    with pytest.raises(ConfigError, match=r"a batch of 4 images does not fit .* use auto or"):
        run_extract(batch_size=4)
    assert small_memory == [4]


def test_one_image_that_does_not_fit_is_told() -> None:
    batch = BatchSize(2, fixed=False)
    batch.halve(torch.device("cpu"))
    with pytest.raises(ConfigError, match="one image does not fit into the memory of cpu"):
        batch.halve(torch.device("cpu"))


def test_a_batch_is_no_larger_than_a_shard() -> None:
    """Otherwise images are read ahead that no batch takes."""
    assert BatchSize.choose(1000, torch.device("cpu"), 64).size == 64


@given(st.integers(1, 4096))
def test_the_first_try_is_a_power_of_two_within_a_shard(rows: int) -> None:
    """Then the batches of a halved size are the same wherever the halving happened."""
    size = BatchSize.choose(None, torch.device("cuda"), rows).size
    assert size & (size - 1) == 0
    assert size <= min(rows, 64) < 2 * size or size == 64


def test_the_final_batch_size_is_told(npz: Path, checkpoint: Path, tmp_path: Path) -> None:
    from samcache.extract.options import ExtractOptions
    from samcache.extract.run import extract

    told = list[Remark]()
    options = ExtractOptions(npz, tmp_path / "s.zarr", "vit_tiny", checkpoint, pool=1, device="cpu")
    extract(options, on_remark=told.append)
    beside = f", {lanes} batches side by side" if (lanes := count_lanes()) > 1 else ""
    assert told == [Remark(f"batch size that fits: 1 on cpu{beside}", "batch_size")]


def test_the_encoder_goes_on_with_the_next_shard_before_one_is_handed_out(
    run_extract: Extract, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a GPU would stand still at the end of every shard."""
    monkeypatch.setattr("samcache.extract.pipeline.devices.batch_size.count_lanes", lambda: 1)
    order: list[str] = []
    begin = BatchEncoder.begin
    monkeypatch.setattr(BatchEncoder, "begin", lambda *a: (order.append("batch"), begin(*a))[1])
    encode = ShardEncoder.encode

    def noted(*arguments: object) -> object:
        for full in encode(*arguments):  # type: ignore[arg-type]
            order.append(f"shard {full.source.shard}")
            yield full

    monkeypatch.setattr(ShardEncoder, "encode", noted)
    run_extract(batch_size=4)
    assert order[:3] == ["batch"] * 3, "two of the first shard, one of the second"
    assert [step for step in order if step != "batch"] == [f"shard {n}" for n in range(5)]


@pytest.mark.parametrize("lanes", [1, 3])
def test_reading_stays_two_batches_ahead_however_many_images_there_are(
    run_extract: Extract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lanes: int
) -> None:
    read, encoded, ahead = [0], [0], []
    lock, image, begin = threading.Lock(), NpzSource.read_image, BatchEncoder.begin

    def counted(self: NpzSource, row: int) -> object:
        with lock:
            read[0] += 1
            ahead.append(read[0] - encoded[0])
        return image(self, row)

    def through(self: BatchEncoder, images: list) -> object:  # type: ignore[type-arg]
        result = begin(self, images)
        with lock:
            encoded[0] += len(images)
        return result

    monkeypatch.setattr(NpzSource, "read_image", counted)
    monkeypatch.setattr(BatchEncoder, "begin", through)
    monkeypatch.setattr(
        "samcache.extract.pipeline.read.read_ahead.count_reading_threads", lambda: 2
    )
    monkeypatch.setattr("samcache.extract.pipeline.devices.batch_size.count_lanes", lambda: lanes)
    source = write_npz(tmp_path / "more.npz", (200, 20, 20))
    run_extract(source=source, batch_size=2)
    assert (read, encoded) == ([240 + 8], [240]), "the probe has read 8 before"
    in_hand = 2 * (lanes + 2) if lanes > 1 else 2  # in lanes, and three that wait for one
    assert max(ahead) - 8 <= 2 * 2 * lanes + 2 + 1 + in_hand, "two batches a lane, the readers"


def test_the_first_error_of_a_reader_ends_the_run(
    run_extract: Extract, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(NpzSource, "read_image", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        run_extract()


@given(shards=st.integers(1, 30), size=st.integers(1, 8), data=st.data())
def test_every_rank_would_do_all_its_own_shards_first(
    shards: int, size: int, data: st.DataObject
) -> None:
    pending = sorted(data.draw(st.sets(st.integers(0, shards))))
    rank = data.draw(st.integers(0, size - 1))

    class Pending:
        def list_pending(self) -> list[int]:
            return pending

    places = np.empty(0, np.int64)
    work = Work(Pending(), None, places, KnownRows(), Division(rank, size))  # type: ignore[arg-type]
    found = work.list_pending()
    own = [shard for shard in pending if shard % size == rank]
    assert found[: len(own)] == own
    assert sorted(found) == pending


def test_a_jobs_bar_counts_what_others_commit(run_extract: Extract) -> None:
    store, _ = run_extract()
    record = Path(store.location) / "commits/00000002/zarr.json"
    others = record.read_bytes()
    record.unlink()
    seen: list[tuple[str, int, int]] = []
    progress = JobProgress(Store(store.location), lambda *event: seen.append(event))
    assert seen[-1] == ("encoding", 32, 40)
    record.write_bytes(others)
    progress.look()
    assert seen[-1] == ("encoding", 40, 40)
    progress.add(2, 8)
    progress.look()
    assert seen[-1] == ("encoding", 40, 40), "committed here and listed counts once"
    progress.wait_for(1)
    assert seen[-1] == ("waiting for 1 shard of other workers", 40, 40)
