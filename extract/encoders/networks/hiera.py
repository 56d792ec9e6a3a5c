"""SAM 2's transformer block with windows cut after the first product, and on CPUs part by part.

The weights and modules are timm's; only the order of the arithmetic is different. timm pads the
tokens of border windows with zeros before qkv; here only real tokens pass through qkv, and windows
are padded with qkv's bias.
"""

from collections.abc import Callable

import torch
from timm.models.hieradet_sam2 import MultiScaleAttention, MultiScaleBlock
from torch import Tensor
from torch.nn import functional as F

from samcache.extract.encoders.networks.attention import pad_windows

# On CPUs a block works on few tokens at a time, so that what it makes of them stays in the cache.
# The number is a constant and not the machine's, as for attention.
_TOKENS = 1024


def run_hiera_block(block: MultiScaleBlock, x: Tensor) -> Tensor:
    """One block on (B, H, W, D) tokens; the first of a stage halves H and W and widens D.

    Matrix products run in the dtype of the block's linear layers; norms and residuals in that of
    x. H and W are even where the block halves them.
    """
    return _add_mlp(block, _add_attention(block, x))


def run_hiera_block_in_parts(block: MultiScaleBlock, x: Tensor) -> Tensor:
    """The same, some rows of windows at a time; of a block without windows, its MLP alone so."""
    window = block.window_size[0]
    if window:
        return _run_in_parts(lambda part: run_hiera_block(block, part), x, window)
    return _run_in_parts(lambda part: _add_mlp(block, part), _add_attention(block, x), 1)


def _run_in_parts(run: Callable[[Tensor], Tensor], x: Tensor, step: int) -> Tensor:
    """``run`` on some images, or on some rows of one; ``step``: rows that belong together."""
    height, width = x.shape[1:3]
    if height * width <= _TOKENS:
        return torch.cat([run(part) for part in torch.split(x, _TOKENS // (height * width))])
    rows = step * max(1, _TOKENS // (step * width))
    images = torch.split(x, 1)
    return torch.cat([torch.cat([run(p) for p in torch.split(i, rows, 1)], 1) for i in images])


def _add_attention(block: MultiScaleBlock, x: Tensor) -> Tensor:
    attention = block.attn
    normed = block.norm1(x).to(attention.qkv.weight.dtype)
    if block.dim != block.dim_out:
        x = block.proj(normed).to(x.dtype)
    if block.pool is not None:
        x = _halve_sides(x)
    tokens = _attend(attention, attention.qkv(normed), block.window_size)
    tokens = tokens[:, : x.shape[1], : x.shape[2]].contiguous()  # else a product for each row
    out: Tensor = x + attention.proj(tokens)
    return out


def _add_mlp(block: MultiScaleBlock, x: Tensor) -> Tensor:
    out: Tensor = x + block.mlp(block.norm2(x).to(block.mlp.fc1.weight.dtype))
    return out


def _attend(attention: MultiScaleAttention, qkv: Tensor, window: tuple[int, int]) -> Tensor:
    """Attention within each window, (0, 0) for one of all tokens; (B, H, W, 3 D) to (B, H, W, D).

    Where the block halves the sides, so does the result. Border windows stay padded.
    """
    if window[0]:
        qkv = pad_windows(qkv, attention.qkv.bias, window[0])
    (batch, height, width, _), heads = qkv.shape, attention.num_heads
    h, w = window if window[0] else (height, width)
    parts = qkv.view(batch, height // h, h, width // w, w, 3, heads, -1)
    q, k, v = parts.permute(5, 0, 1, 3, 2, 4, 6, 7).flatten(1, 3)  # (B windows, h, w, heads, d)
    if attention.q_pool is not None:
        q, h, w, height, width = _halve_sides(q), h // 2, w // 2, height // 2, width // 2
    q, k, v = (part.flatten(1, 2).transpose(1, 2) for part in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
    out = out.reshape(batch, height // h, width // w, h, w, -1)
    return out.transpose(2, 3).reshape(batch, height, width, -1)


def _halve_sides(x: Tensor) -> Tensor:
    """The largest of each 2 x 2 tokens, (B, H, W, …) to (B, H/2, W/2, …)."""
    rows = torch.maximum(x[:, 0::2], x[:, 1::2])
    return torch.maximum(rows[:, :, 0::2], rows[:, :, 1::2])
