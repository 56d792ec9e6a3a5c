"""Photometric changes of a batch of images; the frozen maps of the images stay as they are."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Photometric:
    """How strong the changes are; images are in units of the training rows' deviation."""

    brightness: float = 0.1  # largest shift
    contrast: float = 0.1  # largest relative change of the distance from the mean
    noise: float = 0.05  # deviation of the Gaussian noise
    erase_share: float = 0.25  # of the images that lose a rectangle (Zhong et al. 2020)
    erase_side: tuple[float, float] = (0.1, 0.3)  # of the rectangle, relative to the image

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Change standardised images (B, 3, H, W), each in its own way, drawn from the generator.

        The generator is on the images' device; erased places take the mean, which is 0.
        """
        batch, _, height, width = images.shape

        def draw_uniform(low: float, high: float) -> Tensor:
            draw = torch.rand(batch, 1, 1, 1, generator=generator, device=images.device)
            return low + (high - low) * draw

        shift = draw_uniform(-self.brightness, self.brightness)
        stretch = draw_uniform(1 - self.contrast, 1 + self.contrast)
        grain = torch.empty_like(images).normal_(0, self.noise, generator=generator)
        changed = grain.addcmul_(images, stretch).add_(shift)
        inside = draw_uniform(0, 1) < self.erase_share
        for axis, size in ((2, height), (3, width)):
            side = draw_uniform(*self.erase_side)
            start = draw_uniform(0, 1) * (1 - side)
            shape = [1, 1, 1, 1]
            shape[axis] = size
            place = ((torch.arange(size, device=images.device) + 0.5) / size).view(shape)
            inside = inside & (place >= start) & (place < start + side)
        return changed.masked_fill_(inside, 0)
