"""The encoders against their packages' own forward pass, interleaved in one run.

    python benchmarks/bench_encoder.py --encoder vit_b --encoder vit_t --image-size 1024 --repeats 5

ViT is compared with segment_anything's encoder, with seeded random weights; vit_t with timm's
TinyViT and sam2_t with timm's Hiera and the same neck, with real weights where SAMCACHE_WEIGHTS has
them and random ones elsewhere. On a CPU where transformers is installed, sam2_t is compared with
its Sam2Model as well. Prints a Markdown table: images/s (median wall time), CPU seconds an image
(median, for machines that are not alone), speed-up (median over rounds of the package's time by
this one's), peak memory above the weights, largest difference of the neck from the package's in
float32, absolute and by its largest value, and the share reached of the matrix rate measured in the
same run. On CUDA and on CPUs with AMX also the package in bfloat16 and every precision of ours that
is fast there; on CUDA several batch sizes. Memory is taken from the system as in a program that
does not say otherwise; with --keep all use freed memory again, as samcache's command line does.
"""

import ctypes
import os
import statistics
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import click
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from samcache.cache.memory import ran_out_of_memory
from samcache.commands.terminal.allocator import keep_freed_memory
from samcache.extract.encoders.base import LevelEncoder
from samcache.extract.encoders.load import resolve_levels
from samcache.extract.encoders.networks.sam2 import Sam2Levels
from samcache.extract.encoders.networks.tiny_vit import TinyViTLevels
from samcache.extract.encoders.precision import multiplies_bfloat16
from samcache.extract.encoders.registry import LEVELS, find_architecture
from samcache.extract.encoders.weights import read_checkpoint

FILES = {"vit_t": "mobile_sam.pt", "sam2_t": "sam2_hiera_tiny_encoder_fp16.safetensors"}
COLUMNS = (
    "encoder",
    "px",
    "batch",
    "by",
    "images/s",
    "CPU s/image",
    "speed-up, wall",
    "speed-up, CPU s",
    "memory, MiB",
    "difference",
    "of matrix rate",
)


@dataclass
class Contender:
    """A way to compute the neck's map, and what was measured of it."""

    by: str
    dtype: torch.dtype
    neck: Callable[[Tensor], Tensor]
    wall: list[float] = field(default_factory=list)  # seconds a batch
    cpu: list[float] = field(default_factory=list)  # of all threads
    memory: float = float("nan")  # MiB
    output: Tensor | None = None


@click.command()
@click.option("--encoder", "encoders", multiple=True, default=("vit_b",), show_default=True)
@click.option("--image-size", type=int, default=1024, show_default=True)
@click.option("--batch-size", "batches", type=int, multiple=True, help="[default: 1; CUDA 1 to 32]")
@click.option("--repeats", type=int, default=3, show_default=True)
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
@click.option("--keep", is_flag=True, help="Use freed memory again, as the command line does.")
@torch.inference_mode()
def main(
    encoders: tuple[str, ...],
    image_size: int,
    batches: tuple[int, ...],
    repeats: int,
    device: str,
    keep: bool,
) -> None:
    """Measure and print."""
    if keep:
        keep_freed_memory()
    torch.backends.cudnn.allow_tf32 = False
    place = torch.device(device)
    if place.type == "cuda":
        torch.cuda.set_device(place)  # whose memory and whose work is measured below
    threads = torch.get_num_threads()
    print(f"{device}, torch {torch.__version__}, {threads} threads, {repeats} rounds\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for name in encoders:
        model, weights = build(name, image_size)
        flops = flops_per_image(name, image_size)
        for batch in batches or ((1, 4, 8, 16, 32) if place.type == "cuda" else (1,)):
            rate, rows = compare(model, image_size, batch, repeats, place)
            for row in rows:
                cells = [f"{name} ({weights})", str(image_size), str(batch), row.by]
                cells += figures(row, rows[0], batch, flops / rate[row.dtype])
                print(f"| {' | '.join(cells)} |", flush=True)


def build(name: str, image_size: int) -> tuple[LevelEncoder, str]:
    """The encoder as loaded and not yet prepared, and what its weights are."""
    torch.manual_seed(0)
    architecture = find_architecture(name)
    model = architecture.build(image_size, resolve_levels(architecture, LEVELS))
    file = Path(os.environ.get("SAMCACHE_WEIGHTS", "")) / FILES.get(name, "")
    if file.is_file():
        model.load_state_dict(model.adapt(read_checkpoint(file)[0]))
        return model.eval().requires_grad_(False), "real"
    for parameter_name, parameter in model.named_parameters():
        if "rel_pos" in parameter_name or "pos_embed" in parameter_name:
            parameter.normal_(std=0.05)  # zero at first, which would hide errors
    return model.eval().requires_grad_(False), "random"


def flops_per_image(name: str, image_size: int) -> int:
    """Of the package's own forward pass, padding included."""
    with torch.device("meta"):
        neck = package(find_architecture(name).build(image_size, {"neck": "neck"}).eval())
        with FlopCounterMode(display=False) as counter:
            neck(torch.zeros(1, 3, image_size, image_size))
    return int(counter.get_total_flops())


def package(model: LevelEncoder) -> Callable[[Tensor], Tensor]:
    """What the package does with these weights; ours before preparation is timm's modules."""
    if isinstance(model, TinyViTLevels):
        return lambda x: model(x)["neck"]
    if isinstance(model, Sam2Levels):
        return lambda x: model._embed_image(
            *model.trunk.forward_intermediates(x, [2, 3], intermediates_only=True)
        )
    return model.encoder


def transformers_sam2(model: Sam2Levels) -> Callable[[Tensor], Tensor]:
    """What transformers' Sam2Model, whose default is SAM 2 tiny, does with the same weights."""
    from transformers import Sam2Config, Sam2Model

    theirs = Sam2Model(Sam2Config()).eval().requires_grad_(False)
    own = model.state_dict()
    for name, weight in model.adapt(theirs.state_dict()).items():
        weight.copy_(own[name])
    embedding = theirs.no_memory_embedding.view(1, -1, 1, 1)
    return lambda x: theirs.vision_encoder(x).fpn_hidden_states[-1] + embedding


def package_in_bfloat16(model: LevelEncoder) -> Callable[[Tensor], Tensor]:
    """The package's modules with their weights cast; TinyViT's as samcache casts them."""
    stock = deepcopy(model)
    if isinstance(stock, TinyViTLevels):
        stock.trunk.stages.to(torch.bfloat16)
        stock._dtype = torch.bfloat16
        return package(stock)
    neck = package(stock.to(torch.bfloat16))
    return lambda x: neck(x.bfloat16())


def compare(
    model: LevelEncoder, image_size: int, batch: int, repeats: int, device: torch.device
) -> tuple[dict[torch.dtype, float], list[Contender]]:
    """Every contender, round by round, the package in float32 first; with the matrix rates."""
    torch._dynamo.reset()  # it compiles a function for eight kinds of inputs, and no more
    model = model.to(device)
    shared = model if not isinstance(model, TinyViTLevels) else deepcopy(model)
    shared.prepare(torch.float32)  # changes none of a ViT's modules
    rows = [
        Contender("package float32", torch.float32, package(model)),
        Contender("samcache float32", torch.float32, lambda x: shared(x)["neck"]),
    ]
    if isinstance(model, Sam2Levels) and device.type == "cpu" and find_spec("transformers"):
        rows.append(Contender("transformers float32", torch.float32, transformers_sam2(model)))
    if lower := lower_precisions(device):
        rows.append(Contender("package bfloat16", torch.bfloat16, package_in_bfloat16(model)))
        for dtype in lower:
            ours = deepcopy(model)
            ours.prepare(dtype)
            by = f"samcache {str(dtype).removeprefix('torch.')}"
            rows.append(Contender(by, dtype, lambda x, ours=ours: ours(x)["neck"]))
    x = torch.randn(batch, 3, image_size, image_size, device=device)
    for row in rows:
        warm_up(row, x)
    for _ in range(repeats):
        for row in rows:
            if row.output is not None:
                started = time.process_time()
                row.wall.append(timed(lambda row=row: row.neck(x), device))
                row.cpu.append(time.process_time() - started)
    return {dtype: matrix_rate(dtype, device) for dtype in {row.dtype for row in rows}}, rows


def lower_precisions(device: torch.device) -> tuple[torch.dtype, ...]:
    """What is fast on a device beside float32."""
    if device.type == "cuda":
        return torch.bfloat16, torch.float16
    return (torch.bfloat16,) if multiplies_bfloat16(device) else ()


def warm_up(row: Contender, x: Tensor) -> None:
    """One pass for compilation, one for the output and the peak of memory."""
    status = Path("/proc/self/status")
    try:
        if x.is_cuda:
            row.neck(x)
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            row.output = row.neck(x).float().cpu()
            row.memory = (torch.cuda.max_memory_allocated() - before) / 2**20
        else:
            ctypes.CDLL(None).malloc_trim(0)  # what others freed is not to hide what this one takes
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak
            before = kibibytes(status, "VmRSS")
            row.output = row.neck(x).float()
            row.memory = (kibibytes(status, "VmHWM") - before) / 2**10
    except RuntimeError as error:
        if not ran_out_of_memory(error):
            raise
        row.output = None


def kibibytes(status: Path, key: str) -> int:
    """A figure of this process's memory."""
    lines = status.read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1])


def timed(function: Callable[[], object], device: torch.device) -> float:
    """Wall seconds of a call, to the end of its work on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def matrix_rate(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of a large matrix product, the best of ten."""
    n = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(2, n, n, device=device, dtype=dtype)
    return 2 * n**3 / min(timed(lambda: a @ b, device) for _ in range(10))


def figures(row: Contender, stock: Contender, batch: int, floor: float) -> list[str]:
    """A contender's cells; ``floor``: seconds an image at the matrix rate."""
    if row.output is None:
        return ["out of memory", *[""] * 6]
    rate = batch / statistics.median(row.wall)
    speed_ups, difference = ["", ""], ""
    if stock.output is not None:
        pairs = ((stock.wall, row.wall), (stock.cpu, row.cpu))
        speed_ups = [
            f"{statistics.median(a / b for a, b in zip(*pair, strict=True)):.2f}" for pair in pairs
        ]
        error = (row.output - stock.output).abs().max().item()
        difference = f"{error:.1e} ({error / stock.output.abs().max().item():.1e})"
    cpu = f"{statistics.median(row.cpu) / batch:.3g}"
    return [f"{rate:.3g}", cpu, *speed_ups, f"{row.memory:.0f}", difference, f"{rate * floor:.0%}"]


if __name__ == "__main__":
    main()
