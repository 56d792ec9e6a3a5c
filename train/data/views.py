"""Views of a batch: images turned as the encoder saw them for the maps of each view."""

from dataclasses import astuple
from functools import cache

import torch
from torch import Tensor

from samcache.cache.format.views import VIEWS


def turn_images(images: Tensor, extents: Tensor, views: tuple[str, ...], drawn: Tensor) -> Tensor:
    """Each image of (B, 3, s, s) as its own view has it, pixel for pixel ``cache.views``'s.

    extents: (B, 2) int64, height and width of each image from the upper left corner of its square;
    drawn: (B,) int64, its place in views. Pixels change places and no value changes: padding stays
    below and to the right.
    """
    flags = _list_flags(views, images.device)[drawn]
    transpose, flip_v, flip_h = flags.T.unsqueeze(-1)  # B, 1 each
    height, width = extents.T.unsqueeze(-1)
    height, width = torch.where(transpose, width, height), torch.where(transpose, height, width)
    side = images.shape[-1]
    place = torch.arange(side, device=images.device)
    rows = torch.where(flip_v & (place < height), height - 1 - place, place).unsqueeze(2)
    columns = torch.where(flip_h & (place < width), width - 1 - place, place).unsqueeze(1)
    exchanged = transpose.unsqueeze(2)
    source = torch.where(exchanged, columns * side + rows, rows * side + columns)  # B, s, s
    index = source.flatten(1).unsqueeze(1).expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, index).view_as(images)


@cache
def _list_flags(views: tuple[str, ...], device: torch.device) -> Tensor:
    """Whether each view transposes, flips v, flips h, (V, 3) bool; copied once, as copies wait."""
    return torch.tensor([astuple(VIEWS[view]) for view in views], device=device)
