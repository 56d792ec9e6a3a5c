"""One training on several processes, as torchrun starts them: shares of the work, and exchanges.

Where torchrun did not start this process, it is the only one, and nothing is exchanged.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from timm.layers import convert_sync_batchnorm
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from samcache.cache.errors import ConfigError

# The others wait while the first process copies a store to the local disk, which may take hours; of
# a process that dies torchrun tells the others at once.
_PATIENCE = timedelta(days=1)
_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def find_launched_rank() -> int:
    """This process's rank, before and after it is joined to the others too; 0 writes and speaks."""
    return int(os.environ["RANK"]) if _is_launched_by_torchrun() else 0


def count_processes_here() -> int:
    """How many of the processes share this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if _is_launched_by_torchrun() else 1


def _is_launched_by_torchrun() -> bool:
    return all(name in os.environ for name in _TORCHRUN)


def choose_device(name: str) -> torch.device:
    """A device by name; "auto" is a GPU where there is one, else the CPU.

    Of "cuda", under torchrun, it is the GPU of this process's local rank.
    """
    device = _parse_device(name)
    if device == torch.device("cuda") and _is_launched_by_torchrun():
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    return device


def _parse_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() and torch.cuda.device_count() else "cpu"
    return torch.device(name)


@contextmanager
def join_processes(device: str) -> Iterator[torch.device]:
    """Join torchrun's processes, over NCCL on GPUs and Gloo elsewhere; this one's own device.

    Raises ConfigError where there are more of them than GPUs.
    """
    own = _parse_device(device)
    if not _is_launched_by_torchrun():
        yield own
        return
    if own.type == "cuda":
        if count_processes_here() > torch.cuda.device_count():
            raise ConfigError(
                f"{count_processes_here()} processes share {torch.cuda.device_count()} GPUs: start "
                "one process for each GPU with torchrun",
                hint="nproc_per_node",
            )
        own = choose_device("cuda")
        torch.cuda.set_device(own)
    gpu = own if own.type == "cuda" else None
    distributed.init_process_group("nccl" if gpu else "gloo", timeout=_PATIENCE, device_id=gpu)
    yield own
    distributed.destroy_process_group()  # not after an error: NCCL would wait here for the others


def get_rank() -> int:
    """This process's number among those that are joined."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def count_processes() -> int:
    """How many processes are joined."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


@contextmanager
def let_first_finish() -> Iterator[None]:
    """The body runs in process 0, and then in the others; where it fails there, they end at once.

    They say nothing: the first one's error is the one that counts.
    """
    if get_rank() > 0:
        if _share_failure(failed=False):
            raise SystemExit(1)
        yield
        return
    try:
        yield
    except Exception:
        _share_failure(failed=True)
        raise
    _share_failure(failed=False)


def _share_failure(failed: bool) -> bool:
    """Whether process 0 has failed, in every process, as process 0 says."""
    shared = [failed]
    if count_processes() > 1:
        distributed.broadcast_object_list(shared)
    return shared[0]


def share(rows: Tensor) -> Tensor:
    """This process's part of some rows (m,): every ``size``-th."""
    return rows[get_rank() :: count_processes()]


def gather_rows(values: Tensor, total: int, device: torch.device) -> Tensor:
    """The values (total, K) of all rows, on the CPU, from each process's values of its share."""
    if count_processes() == 1:
        return values
    places = [
        torch.arange(total)[number :: count_processes()] for number in range(count_processes())
    ]
    padded = values.new_zeros(len(places[0]), values.shape[1], device=device)
    padded[: len(values)] = values.to(device)
    parts = [torch.empty_like(padded) for _ in places]
    distributed.all_gather(parts, padded)
    whole = values.new_empty(total, values.shape[1])
    for rows, part in zip(places, parts, strict=True):
        whole[rows] = part[: len(rows)].cpu()
    return whole


def average(value: Tensor) -> Tensor:
    """The mean of every process's value."""
    if count_processes() > 1:
        distributed.all_reduce(value)
        value = value / count_processes()
    return value


def wrap_model(model: nn.Module, device: torch.device) -> nn.Module:
    """The model as it is trained: gradients are averaged over the processes."""
    if count_processes() == 1:
        return model
    return DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)


def synchronise_norm(net: nn.Module, device: torch.device) -> nn.Module:
    """The network with batch norm that sees all GPUs' batches; on CPUs each process's own part.

    It has the same parameters under the same names, but other modules.
    """
    if count_processes() == 1 or device.type != "cuda":
        return net
    synced: nn.Module = convert_sync_batchnorm(net)  # torch's own drops timm's activations
    return synced


def share_buffers(model: nn.Module) -> None:
    """Give every process the first one's running means and variances."""
    if count_processes() > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, 0)
