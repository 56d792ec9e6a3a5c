"""SLCA against a slow plain-NumPy reference, and its two ends: per location, and global."""

import numpy as np
import pytest
import torch

from samcache.train.model.slca import SLCA, resize_attention


def slow_slca(x: np.ndarray, maps: np.ndarray, kernel: int, module: SLCA) -> np.ndarray:
    """SLCA of one image, written out: x (C_s, H, W), standardised unpooled maps (C_l, h, w)."""
    w1, b1 = (p.detach().numpy() for p in module.squeeze.parameters())
    w2, b2 = (p.detach().numpy() for p in module.excite.parameters())
    side = maps.shape[1] // kernel
    attention = np.zeros((x.shape[0], side, side))
    for i in range(side):
        for j in range(side):
            window = maps[:, i * kernel : (i + 1) * kernel, j * kernel : (j + 1) * kernel]
            pooled = window.mean(axis=(1, 2))
            hidden = np.maximum(w1[:, :, 0, 0] @ pooled + b1, 0)
            attention[:, i, j] = 1 / (1 + np.exp(-(w2[:, :, 0, 0] @ hidden + b2)))
    height, width = x.shape[1:]
    out = np.zeros_like(x)
    for i in range(height):
        for j in range(width):
            if height >= side:
                weight = attention[:, i * side // height, j * side // width]
            else:
                step = side // height
                weight = attention[:, i * step : (i + 1) * step, j * step : (j + 1) * step]
                weight = weight.mean(axis=(1, 2))
            out[:, i, j] = x[:, i, j] * weight
            if module.residual:
                out[:, i, j] += x[:, i, j]
    return out


@pytest.mark.parametrize("fusion", ["gate", "residual"])
@pytest.mark.parametrize(
    ("kernel", "stage_side"),
    [(1, 2), (1, 8), (1, 16), (2, 4), (2, 8), (2, 24), (4, 2), (4, 4), (4, 12), (16, 1), (16, 5)],
)
def test_slca_equals_the_slow_reference(fusion: str, stage_side: int, kernel: int) -> None:
    torch.manual_seed(0)
    module = SLCA(10, 6, reduction=3, fusion=fusion)
    x, maps = torch.randn(2, 6, stage_side, stage_side), torch.randn(2, 10, 16, 16)
    pooled = torch.nn.functional.avg_pool2d(maps, kernel)
    found = module(x, pooled).detach().numpy()
    for image in range(2):
        expected = slow_slca(x[image].numpy(), maps[image].numpy(), kernel, module)
        np.testing.assert_allclose(found[image], expected, rtol=1e-4, atol=1e-5)


def test_the_global_kernel_is_squeeze_and_excitation() -> None:
    torch.manual_seed(0)
    module = SLCA(8, 4, reduction=2, fusion="gate")
    x, maps = torch.randn(1, 4, 6, 6), torch.randn(1, 8, 4, 4)
    gate = module.compute_attention(maps.mean(dim=(2, 3), keepdim=True))
    torch.testing.assert_close(module(x, maps.mean(dim=(2, 3), keepdim=True)), x * gate)


def test_attention_is_local() -> None:
    """Changing one cell of the maps changes that cell's gate alone."""
    torch.manual_seed(0)
    module = SLCA(8, 4, reduction=2, fusion="gate")
    maps = torch.randn(1, 8, 4, 4)
    changed = maps.clone()
    changed[:, :, 1, 2] += 1
    difference = (
        (module.compute_attention(maps) - module.compute_attention(changed)).abs().sum(dim=1)[0]
    )
    assert difference[1, 2] > 0
    difference[1, 2] = 0
    assert (difference == 0).all()


def test_attention_grows_by_repetition_and_shrinks_by_averaging() -> None:
    attention = torch.arange(4.0).view(1, 1, 2, 2)
    assert resize_attention(attention, (4, 4))[0, 0, 0].tolist() == [0, 0, 1, 1]
    assert resize_attention(attention, (1, 1)).item() == 1.5
    assert resize_attention(attention, (2, 2)) is attention
