"""Ways to attend with SAM's relative positions, interleaved: CPU seconds (wall seconds on CUDA).

    OMP_NUM_THREADS=1 python benchmarks/bench_attention.py

Random queries, keys, values and biases of ViT-B at 1024 px: on a CPU three heads of a global block
and the 25 windows of a window block in float32, on a GPU all of eight images in bfloat16, there by
every kernel that torch has for the longer heads. A round before the first warms up and compiles.
Prints medians of five rounds as a Markdown table, and how far each way is from the first at most.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import flex_attention

from samcache.extract.encoders.networks.attention import attend_augmented, attend_in_blocks

CASES = {  # images, windows and heads; side
    "cpu": {"global, 3 heads": (3, 64), "windows, 12 heads": (25 * 12, 14)},
    "cuda": {"global, 8 images": (8 * 12, 64), "windows, 8 images": (8 * 25 * 12, 14)},
}
DTYPES = {"cpu": torch.float32, "cuda": torch.bfloat16}  # what is encoded in
ROUNDS = 5
COMPILED = torch.compile(flex_attention, dynamic=False)
KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cuDNN": SDPBackend.CUDNN_ATTENTION,
    "memory-efficient": SDPBackend.EFFICIENT_ATTENTION,
}


def written_out(
    q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor, scale: float
) -> Tensor:
    """As segment_anything does it."""
    bias = (rows[..., None] + columns[..., None, :]).flatten(2)
    return ((q * scale) @ k.mT + bias).softmax(-1) @ v


def augmented(
    q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor, scale: float
) -> Tensor:
    """As on GPUs, by the kernel that torch takes."""
    return attend_augmented(q, k, v, rows, columns, scale, heads=3)


def flex(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor, scale: float) -> Tensor:
    """The bias looked up within a compiled kernel, score by score."""
    width = columns.shape[-1]

    def biased(score: Tensor, _batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return score + rows[head, query, key // width] + columns[head, query, key % width]

    return COMPILED(q[None], k[None], v[None], score_mod=biased, scale=scale)[0]


def by_kernel(kernel: SDPBackend) -> Callable[..., Tensor]:
    """``augmented`` by one of torch's kernels."""

    def attend(*given: Tensor | float) -> Tensor:
        with sdpa_kernel(kernel):
            return augmented(*given)

    return attend


@torch.inference_mode()
def main() -> None:
    """Measure and print."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = DTYPES[device]
    ways = {way.__name__: way for way in (written_out, augmented, attend_in_blocks, flex)}
    if device == "cuda":
        ways |= {f"augmented, {name}": by_kernel(kernel) for name, kernel in KERNELS.items()}
    print(f"| {' | '.join([device, *ways])} |\n{'|---' * (1 + len(ways))}|")
    for case, (heads, side) in CASES[device].items():
        q, k, v = torch.randn(3, heads, side**2, 64, device=device, dtype=dtype)
        rows, columns = torch.randn(2, heads, side**2, side, device=device, dtype=dtype)
        given = q, k, v, rows, columns, 0.125
        outputs = {name: attempted(way, given) for name, way in ways.items()}
        seconds = {name: [] for name, output in outputs.items() if output is not None}
        for _ in range(ROUNDS):
            for name, times in seconds.items():
                started = now(device)
                ways[name](*given)
                times.append(now(device) - started)
        cells = [cell(seconds.get(name), outputs[name], outputs["written_out"]) for name in ways]
        print(f"| {case} | {' | '.join(cells)} |", flush=True)


def attempted(way: Callable[..., Tensor], given: tuple[Tensor | float, ...]) -> Tensor | None:
    """What a way gives; None where the device or the kernel cannot do it."""
    try:
        return way(*given)
    except RuntimeError as error:  # of memory, too
        print(f"<!-- {str(error).splitlines()[0]} -->")
        return None


def cell(times: list[float] | None, output: Tensor | None, first: Tensor | None) -> str:
    """Median seconds, and the largest difference from the first way."""
    if times is None or output is None:
        return "-"
    told = f"{statistics.median(times):.3g}"
    return told if first is None else f"{told} ({(output - first).abs().max():.1e})"


def now(device: str) -> float:
    """Seconds, once the device's work is done."""
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


if __name__ == "__main__":
    main()
