"""Copies to a device and back, on CUDA beside the device's work and without waiting for it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Arrays = dict[str, npt.NDArray[Any]]


class DeviceCopies:
    """Uploads and downloads of one device.

    On CUDA each has a stream of its own and page-locked memory on the host, so that the next
    batch goes up and the last one comes down while the device computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._cuda = device.type == "cuda"
        if self._cuda:
            self._up = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._down = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def upload(self, frames: list[npt.NDArray[np.uint8]]) -> Tensor:
        """B frames of one shape as a (B, …) uint8 tensor on the device."""
        shape = len(frames), *frames[0].shape
        stacked = torch.empty(shape, dtype=torch.uint8, pin_memory=self._cuda)
        np.stack(frames, out=stacked.numpy())
        if not self._cuda:
            return stacked.to(self._device)
        with torch.cuda.stream(self._up):
            moved = stacked.to(self._device, non_blocking=True)
        working = torch.cuda.current_stream(self._device)
        working.wait_stream(self._up)
        moved.record_stream(working)
        return moved

    def download(self, values: dict[str, Tensor]) -> Callable[[], Arrays]:
        """Start copying tensors to the host; the function waits for them and returns them."""
        if not self._cuda:
            return lambda: {name: value.cpu().numpy() for name, value in values.items()}
        self._down.wait_stream(torch.cuda.current_stream(self._device))
        host = {}
        with torch.cuda.stream(self._down):
            for name, value in values.items():
                host[name] = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
                host[name].copy_(value, non_blocking=True)
                value.record_stream(self._down)  # its memory is not given away before
            # a thread that waits sleeps: its core is wanted for decoding
            done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            done.record(self._down)

        def wait() -> Arrays:
            done.synchronize()
            return {name: value.numpy() for name, value in host.items()}

        return wait
