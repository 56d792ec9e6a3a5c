"""What maps the modules of a backbone give, found by running it once."""

from collections.abc import Set as AbstractSet

import torch
from torch import Tensor, nn

from samcache.cache.errors import ConfigError, read_first_line
from samcache.cache.memory import ran_out_of_memory
from samcache.train.model.backbones import Backbone

Shape = tuple[int, int, int]  # C, H, W


@torch.no_grad()
def find_output_shapes(
    backbone: Backbone, paths: AbstractSet[str], image_size: int
) -> dict[str, Shape]:
    """Path -> (C, H, W) of the module's output, from a pass of one black image.

    Raises ConfigError where an output is no map, and for modules that are never run.
    """
    found: dict[str, Shape] = {}
    handles = []
    for path in paths:

        def note(_module: nn.Module, _inputs: object, x: object, path: str = path) -> None:
            if not isinstance(x, Tensor) or x.ndim != 4:
                what = f"of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
                raise ConfigError(
                    f"{path} cannot be tapped: its output is {what}, not a batch of maps"
                )
            maps = x.permute(0, 3, 1, 2) if backbone.nhwc else x
            _, channels, height, width = maps.shape
            found[path] = channels, height, width

        handles.append(backbone.net.get_submodule(path).register_forward_hook(note))
    if paths:
        try:
            run_once(backbone, image_size)
        finally:
            for handle in handles:
                handle.remove()
    if paths - found.keys():
        raise ConfigError(
            f"{min(paths - found.keys())} cannot be tapped: the backbone never runs it by itself"
        )
    return found


@torch.no_grad()
def run_once(backbone: Backbone, image_size: int) -> None:
    """Pass one black image through; raises ConfigError where the network does not take its size."""
    training = backbone.net.training
    try:
        backbone.net.eval()(torch.zeros(1, 3, image_size, image_size))
    except (RuntimeError, ValueError, AssertionError) as error:
        if ran_out_of_memory(error):
            raise
        raise ConfigError(
            f"the backbone cannot take images of {image_size} pixels ({read_first_line(error)}): "
            "give another image size, or another backbone",
            hint="image_size backbone",
        ) from error
    finally:
        backbone.net.train(training)
