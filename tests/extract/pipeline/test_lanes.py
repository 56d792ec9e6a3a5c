"""On a CPU batches are encoded side by side, and the store is the one of a single core."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_extraction import Extract

from samcache.cache.errors import ConfigError
from samcache.extract.encoders.networks.vit import ViTLevels
from samcache.extract.pipeline.batch_encoder import BatchEncoder
from samcache.extract.pipeline.devices.batch_size import BatchSize
from samcache.extract.pipeline.devices.lanes import Lanes

CPU = torch.device("cpu")


def objects(folder: Path) -> dict[str, bytes]:
    """What a store holds of its images, by name."""
    chunks = [path for path in folder.rglob("c/**/*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in chunks}


def test_a_store_has_the_bytes_of_one_core_whatever_the_number_of_cores(
    run_extract: Extract, threads: Callable[[int], None]
) -> None:
    stores = []
    for count in (1, 4):
        threads(count)
        store, _ = run_extract(f"with-{count}", batch_size=None, pool=1, dtype="float32")
        stores.append(Path(store.location))
    one, four = map(objects, stores)
    assert len(one) > 30
    assert one == four


def test_batches_are_encoded_at_the_same_time_each_on_a_thread_of_its_own(
    run_extract: Extract, threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(2, timeout=60)
    names, shares = set(), set()
    encode = BatchEncoder.begin

    def met(*arguments: Any) -> Any:
        together.wait()
        names.add(threading.current_thread().name)
        shares.add(torch.get_num_threads())
        return encode(*arguments)

    monkeypatch.setattr(BatchEncoder, "begin", met)
    threads(2)
    _, summary = run_extract(batch_size=4)
    assert summary.encoded == 40
    assert names == {"lane_0", "lane_1"}
    assert shares == {1}


@pytest.mark.parametrize(("cores", "lanes"), [(1, 1), (3, 3), (8, 8), (64, 8)])
def test_there_is_a_lane_for_each_core_up_to_eight(
    threads: Callable[[int], None], cores: int, lanes: int
) -> None:
    threads(cores)
    batch = BatchSize.choose(None, CPU, 64)
    assert (batch.size, batch.lanes, batch.images) == (1, lanes, lanes)
    assert BatchSize.choose(4, CPU, 64) == BatchSize(4, lanes=lanes)
    assert BatchSize.choose(None, torch.device("cuda"), 64).lanes == 1


def test_lanes_share_the_threads_and_leave_them_as_they_were(
    threads: Callable[[int], None],
) -> None:
    threads(6)
    with Lanes(2) as lanes:
        assert lanes.begin(lambda: torch.get_num_threads)() == 3
    assert torch.get_num_threads() == 6
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == 6


def test_what_has_not_begun_when_the_lanes_close_is_not_done(
    threads: Callable[[int], None],
) -> None:
    threads(2)
    begun, proceed = threading.Barrier(3, timeout=60), threading.Event()
    late: list[int] = []

    def held() -> Callable[[], None]:
        begun.wait()
        assert proceed.wait(60)
        return lambda: None

    with Lanes(2) as lanes:
        for _ in range(2):
            lanes.begin(held)
        lanes.begin(lambda: lambda: late.append(1))
        begun.wait()
        threading.Timer(0.1, proceed.set).start()
    assert not late


def test_one_image_by_itself_is_not_several() -> None:
    """As the precision probe encodes it: fewer cores would not help."""
    with pytest.raises(ConfigError, match="one image does not fit into the memory of cpu"):
        BatchSize(1, fixed=False, lanes=4).halve(CPU)


@pytest.mark.parametrize(
    ("batch_size", "told"),
    [
        (None, "2 images at a time do not fit into the memory of cpu: set OMP_NUM_THREADS"),
        (4, "a batch of 4 images does not fit into the memory of cpu: use auto or a"),
    ],
)
def test_a_lane_without_memory_stops_the_run_with_advice(
    run_extract: Extract,
    threads: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    batch_size: int | None,
    told: str,
) -> None:
    forward = ViTLevels.forward

    def limited(self: ViTLevels, x: torch.Tensor) -> dict[str, torch.Tensor]:
        if threading.current_thread().name.startswith("lane"):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to …")
        return forward(self, x)

    monkeypatch.setattr(ViTLevels, "forward", limited)
    threads(2)
    with pytest.raises(ConfigError, match=told):
        run_extract(batch_size=batch_size)
