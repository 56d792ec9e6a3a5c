"""Part 3: kaiko-eva's predict-then-fit against extract, then probe or train; and no cache at all.

    python benchmarks/peers/run.py two_stage --npz breastmnist.npz --checkpoint mobile_sam.pt

The same PNG files and the same encoder (MobileSAM, loaded by samcache for both). Every step is a
command of its own, timed from start to end, imports included. The online alternative is run for one
epoch; its other epochs cost the same.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from images import write_images  # noqa: E402
from results import Results, say  # noqa: E402

PYTHON = sys.executable
SAMCACHE = str(Path(sys.executable).with_name("samcache"))
EVA = [PYTHON, str(HERE / "eva_job.py")]


def main() -> None:
    """Time every step that is not timed yet."""
    options = arguments()
    work = options.work / "two-stage"
    labels = work / "images" / "labels.csv"
    if options.again:
        shutil.rmtree(work, ignore_errors=True)
    if not labels.exists():
        write_images(options.npz, labels.parent, options.images)
    results = Results("two-stage", options.again, options.note)
    images = len(labels.read_text().splitlines()) - 1
    results.facts |= {
        "data": options.npz.stem, "images": images, "px": options.image_size,
        "epochs": options.epochs, "encoder": "vit_t (MobileSAM)",
        "command": f"run.py two_stage --images {images} --image-size {options.image_size} "
        f"--epochs {options.epochs} --repeats {options.repeats}",
    }  # fmt: skip
    for repeat in range(options.repeats):
        for key, (title, command, leaves) in steps(options, work, labels).items():
            times = results.row(key).setdefault("wall_s", [])
            if len(times) > repeat:
                continue
            if leaves:
                shutil.rmtree(leaves, ignore_errors=True)
            times.append(timed(command, work / f"{key}.log"))
            results.row(key)["title"] = title
            results.save()
            say(f"{title}: {statistics.median(times):.1f} s")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--npz", type=Path, required=True, help="MedMNIST file")
    parser.add_argument("--checkpoint", type=Path, required=True, help="mobile_sam.pt")
    parser.add_argument("--work", type=Path, required=True, help="folder for everything written")
    parser.add_argument("--images", type=int, help="of all  [default: all]")
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="forget earlier results")
    parser.add_argument("--note", default="", help="kept with the results")
    return parser.parse_args()


def steps(
    options: argparse.Namespace, work: Path, labels: Path
) -> dict[str, tuple[str, list[str], Path | None]]:
    """Key -> title, command, and the folder that it must not find."""
    side, epochs = str(options.image_size), str(options.epochs)
    store, eva, checkpoint = str(work / "s.zarr"), str(work / "eva"), str(options.checkpoint)
    encoder = ["vit_t", checkpoint, side]
    extract = [SAMCACHE, "extract", str(labels), "--store", store, "--encoder", "vit_t"]
    extract += ["--checkpoint", checkpoint, "--image-size", side]
    train = [SAMCACHE, "train", store, "--epochs", epochs, "--image-size", "64", "--overwrite"]
    one = [*train, "--seeds", "0", "--out", str(work / "one")]
    ten = [*train, "--seeds", ",".join(map(str, range(1, 11))), "--out", str(work / "ten")]
    predict = [*EVA, "predict", str(labels), eva, *encoder]
    online = [*EVA, "online", str(labels), *encoder, "1"]
    return {
        "eva-1": ("stage 1: eva predict, neck's mean", predict, work / "eva"),
        "samcache-1": ("stage 1: samcache extract, five maps, image", extract, work / "s.zarr"),
        "eva-2": ("stage 2: eva fit, linear head", [*EVA, "fit", eva, "1", epochs], None),
        "samcache-probe": ("stage 2: samcache probe", [SAMCACHE, "probe", store], None),
        "samcache-2": ("stage 2: samcache train, SLCA on ResNet-18 at 64 px", one, None),
        "eva-10": ("ten more: eva fit, linear head", [*EVA, "fit", eva, "10", epochs], None),
        "samcache-10": ("ten more: samcache train, SLCA on ResNet-18 at 64 px", ten, None),
        "eva-online": ("online: eva fit, encoder in the loop, one epoch", online, None),
    }


def timed(command: list[str], log: Path) -> float:
    """Wall seconds of a command that must succeed."""
    started = time.perf_counter()
    with log.open("w") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed: see {log}")
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
