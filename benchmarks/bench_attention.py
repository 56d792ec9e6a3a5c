"""Ways to attend with SAM's relative positions, interleaved: CPU seconds (wall seconds on CUDA).

    OMP_NUM_THREADS=1 python benchmarks/bench_attention.py

Random queries, keys, values and biases of ViT-B at 1024 px: on a CPU three heads of a global block
and the 25 windows of a window block in float32, on a GPU all of eight images in bfloat16. A round
before the first warms up and compiles. Prints medians of five rounds as a Markdown table.
"""

import statistics
import time

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from samcache.extract.attention import attend_augmented, attend_in_blocks

CASES = {  # B heads, side
    "cpu": {"global, 3 heads": (3, 64), "windows, 12 heads": (25 * 12, 14)},
    "cuda": {"global, 8 images": (8 * 12, 64), "windows, 8 images": (8 * 25 * 12, 14)},
}
DTYPES = {"cpu": torch.float32, "cuda": torch.bfloat16}  # what is encoded in
ROUNDS = 5
COMPILED = torch.compile(flex_attention, dynamic=False)


def written_out(
    q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor, scale: float
) -> Tensor:
    """As segment_anything does it."""
    bias = (rows[..., None] + columns[..., None, :]).flatten(2)
    return ((q * scale) @ k.mT + bias).softmax(-1) @ v


def flex(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor, scale: float) -> Tensor:
    """The bias looked up within a compiled kernel, score by score."""
    width = columns.shape[-1]

    def biased(score: Tensor, _batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return score + rows[head, query, key // width] + columns[head, query, key % width]

    return COMPILED(q[None], k[None], v[None], score_mod=biased, scale=scale)[0]


@torch.inference_mode()
def main() -> None:
    """Measure and print."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = DTYPES[device]
    ways = (written_out, attend_augmented, attend_in_blocks, flex)
    heads = [device, *(way.__name__ for way in ways)]
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for case, (heads, side) in CASES[device].items():
        q, k, v = torch.randn(3, heads, side**2, 64, device=device, dtype=dtype)
        rows, columns = torch.randn(2, heads, side**2, side, device=device, dtype=dtype)
        seconds = {way: [] for way in ways}
        for _ in range(ROUNDS + 1):
            for way in ways:
                started = now(device)
                way(q, k, v, rows, columns, 0.125)
                seconds[way].append(now(device) - started)
        cells = [f"{statistics.median(times[1:]):.3g}" for times in seconds.values()]
        print(f"| {case} | {' | '.join(cells)} |", flush=True)


def now(device: str) -> float:
    """Seconds, once the device's work is done."""
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


if __name__ == "__main__":
    main()
