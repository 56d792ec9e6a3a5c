"""Part 2: SAM's ViT-B by samcache, segment_anything, transformers and timm, with the same weights.

    python benchmarks/peers/run.py encoder [--repeats 5] [--image-size 512] [--image-size 1024]

Random weights, converted from segment_anything's names to each package's own; that all necks agree
is checked first. Packages take turns, round by round, in one process; one image at a time on a CPU.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import torch  # noqa: E402
from bench_encoder import Contender, build, package, timed, warm_up  # noqa: E402
from results import Results, say  # noqa: E402
from torch import Tensor  # noqa: E402

TRANSFORMERS = {
    "blocks.": "layers.",
    ".norm1.": ".layer_norm1.",
    ".norm2.": ".layer_norm2.",
    "patch_embed.proj.": "patch_embed.projection.",
    "neck.0.": "neck.conv1.",
    "neck.1.": "neck.layer_norm1.",
    "neck.2.": "neck.conv2.",
    "neck.3.": "neck.layer_norm2.",
}
TIMM = {".mlp.lin": ".mlp.fc"}
AGREEMENT = 1e-4  # of the largest value


@torch.inference_mode()
def main() -> None:
    """Measure every size that is not measured yet."""
    options = arguments()
    device = torch.device(options.device)
    results = Results(f"encoder-{device.type}", options.again, options.note)
    results.facts |= {"weights": "random", "command": f"run.py encoder --repeats {options.repeats}"}
    for size in options.image_size or (512, 1024):
        for batch in options.batch_size or ((1, 8) if device.type == "cuda" else (1,)):
            prefix = f"{size}/{batch}"
            if not any(key.startswith(f"{prefix}/") for key in results.rows):
                measure(results, prefix, size, batch, options.repeats, device)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image-size", type=int, action="append")
    parser.add_argument("--batch-size", type=int, action="append")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--again", action="store_true", help="forget earlier results")
    parser.add_argument("--note", default="", help="kept with the results")
    return parser.parse_args()


def contenders(size: int, device: torch.device) -> list[Contender]:
    """Every package's encoder with the same weights, segment_anything's first."""
    model = build("vit_b", size)[0].to(device)
    weights = model.encoder.state_dict()
    necks: dict[str, Callable[[Tensor], Tensor]] = {
        "segment_anything": package(model),
        "transformers": by_transformers(weights, size, device),
        "timm": by_timm(weights, size, device),
    }
    model.prepare(torch.float32)  # changes none of the modules that segment_anything runs
    necks["samcache"] = lambda x: model(x)["neck"]
    return [Contender(by, torch.float32, neck) for by, neck in necks.items()]


def renamed(weights: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    """The same weights under another package's names."""
    found = {}
    for name, weight in weights.items():
        for old, new in names.items():
            name = name.replace(old, new)
        found[name] = weight
    return found


def by_transformers(weights: dict[str, Tensor], size: int, device: torch.device):
    """``transformers``' SAM vision encoder, with its default attention (torch's own kernel)."""
    from transformers import SamVisionConfig
    from transformers.models.sam.modeling_sam import SamVisionModel

    model = SamVisionModel(SamVisionConfig(image_size=size)).to(device).eval()
    model.vision_encoder.load_state_dict(renamed(weights, TRANSFORMERS))
    return lambda x: model(x).last_hidden_state


def by_timm(weights: dict[str, Tensor], size: int, device: torch.device):
    """timm's ``samvit_base_patch16``."""
    import timm

    model = timm.create_model("samvit_base_patch16", img_size=size).to(device).eval()
    model.load_state_dict(renamed(weights, TIMM), strict=False)
    missing = set(model.state_dict()) - set(renamed(weights, TIMM))
    assert all(name.startswith("head") for name in missing), missing
    return model.forward_features


def measure(
    results: Results, prefix: str, size: int, batch: int, repeats: int, device: torch.device
) -> None:
    """All packages at one size, by turns."""
    rows = contenders(size, device)
    x = torch.randn(batch, 3, size, size, device=device)
    for row in rows:
        warm_up(row, x)
    reference = rows[0].output
    assert reference is not None, "out of memory"
    for _ in range(repeats):
        for row in rows:
            started = time.process_time()
            row.wall.append(timed(lambda row=row: row.neck(x), device))
            row.cpu.append(time.process_time() - started)
    for row in rows:
        assert row.output is not None
        error = (row.output - reference).abs().max() / reference.abs().max()
        assert error <= AGREEMENT, f"{row.by} differs by {error}"
        results.row(f"{prefix}/{row.by}").update(
            by=row.by, px=size, batch=batch, wall_s=row.wall, cpu_s=row.cpu, peak_MiB=row.memory,
            difference=float(error),
        )  # fmt: skip
        say(f"{size} px {row.by:<17} {batch / statistics.median(row.wall):.3f} images/s")
    results.save()


if __name__ == "__main__":
    main()
