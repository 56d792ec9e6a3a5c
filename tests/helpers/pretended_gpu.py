"""A GPU that is not there: torch's fake tensors have its device, shapes and dtypes, and no numbers.

Whatever mixes tensors of two devices fails on them as it would on a GPU.
"""

import torch
from torch import nn

GPU = torch.device("cuda", 0)


def moved(module: nn.Module) -> nn.Module:
    """The module with parameters and buffers on the pretended GPU; within ``FakeTensorMode``."""
    for part in module.modules():
        for name, value in part.named_parameters(recurse=False):
            fake = torch.empty(value.shape, dtype=value.dtype, device=GPU)
            part._parameters[name] = nn.Parameter(fake, requires_grad=value.requires_grad)
        for name, value in part.named_buffers(recurse=False):
            part._buffers[name] = torch.empty(value.shape, dtype=value.dtype, device=GPU)
    return module
