"""The device that an extraction runs on."""

import torch

from samcache.extract.pipeline.ranks import choose_gpu


def open_device(name: str) -> torch.device:
    """Open a device by name; "auto" is a GPU if there is one, else the CPU.

    "cuda" without a number is this process's own among the visible GPUs, which becomes the current
    one.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type != "cuda":
        return device
    if device.index is None:
        device = torch.device("cuda", choose_gpu(torch.cuda.device_count()))
    torch.cuda.set_device(device)  # else page-locked memory would open the first GPU as well
    return device
