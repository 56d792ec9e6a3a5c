"""Ways to attend with SAM's relative positions, interleaved: CPU seconds (wall seconds on CUDA).

    OMP_NUM_THREADS=1 python benchmarks/bench_attention.py

Random queries, keys, values and biases of ViT-B at 1024 px: three heads of a global block, and the
25 windows of a window block. Prints medians of five rounds as a Markdown table.
"""

import statistics
import time

import torch
from torch import Tensor

from samcache.extract.attention import attend_augmented, attend_in_blocks

CASES = {"global, 3 heads": (3, 64), "windows, 12 heads": (25 * 12, 14)}  # B heads, side
ROUNDS = 5


def written_out(
    q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor, scale: float
) -> Tensor:
    """As segment_anything does it."""
    bias = (rows[..., None] + columns[..., None, :]).flatten(2)
    return ((q * scale) @ k.mT + bias).softmax(-1) @ v


@torch.inference_mode()
def main() -> None:
    """Measure and print."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    ways = (written_out, attend_augmented, attend_in_blocks)
    print(f"| {device} | {' | '.join(way.__name__ for way in ways)} |\n|---|---|---|---|")
    for case, (heads, side) in CASES.items():
        q, k, v = torch.randn(3, heads, side**2, 64, device=device)
        rows, columns = torch.randn(2, heads, side**2, side, device=device)
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
