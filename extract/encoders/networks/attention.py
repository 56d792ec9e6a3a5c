"""SAM's transformer block without the relative-position bias of every pair of tokens in memory.

The weights and modules are segment_anything's; only the order of the arithmetic is different. With
q·R_h and q·R_w, the row and column biases of a query, the score of a key at (r, c) is
``scale * q·k + (q·R_h)[r] + (q·R_w)[c]``.
"""

from collections.abc import Callable
from functools import cache, partial
from itertools import product
from typing import Any

import torch
from segment_anything.modeling.image_encoder import Attention, Block
from torch import Tensor
from torch.nn import functional as F

# On CPUs the bias is made for few scores at a time, so that it stays in the cache. The numbers are
# constants and not the machine's, so that the bits of a store do not depend on its cores.
_QUERIES = 256
_SCORES = 2**21  # 8 MB of float32
_KINDS = 64  # of blocks that one process may compile: by shape, window and dtype
RunBlock = Callable[[Any, Tensor], Tensor]


def run_block(block: Block, x: Tensor) -> Tensor:
    """One block on (B, H, W, D) tokens; the same shape and dtype.

    Matrix products run in the dtype of the block's linear layers; norms and residuals in that of
    x. Only real tokens pass through the linear layers: what segment_anything pads border windows
    with, zeros before qkv, is qkv's bias after it.
    """
    attention, dtype = block.attn, block.attn.qkv.weight.dtype
    height, width = x.shape[1:3]
    qkv = attention.qkv(block.norm1(x).to(dtype))
    window = (height, width)
    if block.window_size:
        window = (block.window_size, block.window_size)
        qkv = pad_windows(qkv, attention.qkv.bias, block.window_size)
    tokens = _attend(attention, qkv, window)[:, :height, :width]
    x = x + attention.proj(tokens.contiguous())  # else a product for each row of tokens
    out: Tensor = x + block.mlp(block.norm2(x).to(dtype))
    return out


@cache
def compile_block(run: RunBlock = run_block) -> RunBlock:
    """``run`` with its element-wise work fused; as it is where it cannot be compiled.

    One compiled block serves batches of any size but 1, so that the bits of a batch do not depend
    on the sizes of those before it.
    """
    torch._dynamo.config.suppress_errors = True
    torch._dynamo.config.recompile_limit = max(_KINDS, torch._dynamo.config.recompile_limit)
    compiled = torch.compile(run)

    def step(block: Any, x: Tensor) -> Tensor:
        torch._dynamo.maybe_mark_dynamic(x, 0)
        return compiled(block, x)

    return step


def pad_windows(tokens: Tensor, filling: Tensor, side: int) -> Tensor:
    """(B, H, W, C) enlarged at the bottom and right to multiples of ``side``."""
    batch, height, width, channels = tokens.shape
    below, right = -height % side, -width % side
    if not below and not right:
        return tokens
    padded = filling.expand(batch, height + below, width + right, channels).clone()
    padded[:, :height, :width] = tokens
    return padded


def _attend(attention: Attention, qkv: Tensor, window: tuple[int, int]) -> Tensor:
    """Attention within each window of (B, H, W, 3 D) queries, keys and values; (B, H, W, D)."""
    (batch, height, width, _), (h, w), heads = qkv.shape, window, attention.num_heads
    parts = qkv.view(batch, height // h, h, width // w, w, 3, heads, -1)
    q, k, v = parts.permute(5, 0, 1, 3, 6, 2, 4, 7).flatten(1, 4)  # (B windows heads, h, w, d)
    rows = torch.einsum("bhwc,hkc->bhwk", q, _pair_embeddings(attention.rel_pos_h, h, q))
    columns = torch.einsum("bhwc,wkc->bhwk", q, _pair_embeddings(attention.rel_pos_w, w, q))
    on_cpu = q.device.type == "cpu"
    attend = attend_in_blocks if on_cpu else partial(attend_augmented, heads=heads)
    q, k, v, rows, columns = [part.flatten(1, 2) for part in (q, k, v, rows, columns)]
    out = attend(q, k, v, rows, columns, attention.scale)
    parts = out.view(batch, height // h, width // w, heads, h, w, -1)
    return parts.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, height, width, -1)


def _pair_embeddings(relative: Tensor, size: int, like: Tensor) -> Tensor:
    """(2 size - 1, d) embeddings of distances as (size, size, d), by query's and key's place."""
    places = torch.arange(size, device=relative.device)
    return relative.to(like.dtype)[places[:, None] - places + size - 1]


def attend_in_blocks(
    q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor, scale: float
) -> Tensor:
    """Attention with the bias as a mask, some heads and queries at a time; (B heads, N, d).

    q, k, v: (B heads, N, d); rows: (B heads, N, H), columns: (B heads, N, W), with N = H W.
    """
    out = torch.empty_like(q)
    count, tokens, _ = q.shape
    group = max(1, _SCORES // (min(tokens, _QUERIES) * tokens))
    if q.device.type == "cpu":  # which adds up faster so; GPUs want a mask in the queries' dtype
        mask = torch.promote_types(q.dtype, torch.float32)
        rows, columns = rows.to(mask), columns.to(mask)
    for some, queries in product(_make_slices(count, group), _make_slices(tokens, _QUERIES)):
        bias = rows[some, queries, :, None] + columns[some, queries, None, :]
        out[some, queries] = F.scaled_dot_product_attention(
            q[None, some, queries],
            k[None, some],
            v[None, some],
            attn_mask=bias.flatten(2)[None],
            scale=scale,
        )[0]
    return out


def _make_slices(count: int, step: int) -> list[slice]:
    return [slice(start, start + step) for start in range(0, count, step)]


def attend_augmented(
    q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor, scale: float, heads: int = 1
) -> Tensor:
    """The same by maskless attention, which flash kernels do, on longer queries and keys.

    To each query its row and column biases are appended, to each key the one-hot vectors of its
    row and column: their dot product is the biased score. Head dimension d + H + W.
    heads: of the first axis, the inner part of it.
    """
    height, width = rows.shape[-1], columns.shape[-1]
    row, column = (torch.eye(n, dtype=q.dtype, device=q.device) for n in (height, width))
    places = torch.cat([row.repeat_interleave(width, 0), column.repeat(height, 1)], dim=1)
    queries = torch.cat([q, rows / scale, columns / scale], dim=2)
    keys = torch.cat([k, places.expand(len(k), -1, -1)], dim=2)
    # Flash kernels want one head dimension for all, a multiple of 8, and no axis beyond 65535,
    # which images, windows and heads in one would be.
    tokens, wide = q.shape[1], -(-queries.shape[2] // 8) * 8
    queries, keys, values = (
        F.pad(part, (0, wide - part.shape[2])).view(-1, heads, tokens, wide)
        for part in (queries, keys, v)
    )
    out = F.scaled_dot_product_attention(queries, keys, values, scale=scale)
    return out.flatten(0, 1)[..., : v.shape[-1]]
