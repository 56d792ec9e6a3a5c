"""The main job on real data: BreastMNIST and RetinaMNIST, MobileSAM, SLCA against no attention.

    SAMCACHE_DATA=… SAMCACHE_WEIGHTS=… python benchmarks/real_run.py OUTPUT

Resumable: what is extracted and trained already is not done again. Prints the table of
benchmarks/README.md and writes it to OUTPUT/table.md.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

DATASETS = ("breastmnist", "retinamnist")
ATTENTIONS = {"none": [], "slca": ["--fusion", "gate"]}
TRAINING = ["--backbone", "resnet18", "--image-size", "64", "--epochs", "15", "--seeds", "0,1,2"]
TRAINING += ["--no-augment"]


def main() -> None:
    """Run what is missing and print the table."""
    output = Path(sys.argv[1])
    output.mkdir(parents=True, exist_ok=True)
    lines = [
        "| data set | attention | test AUC | test accuracy | extract | train, 3 seeds |",
        "|---|---|---|---|---|---|",
    ]
    for dataset in DATASETS:
        seconds = extract(dataset, output)
        for attention, options in ATTENTIONS.items():
            results = train(dataset, attention, options, output)
            metrics = results["fractions"][0]["metrics"]
            cells = [score(metrics["auc"]), score(metrics["accuracy"])]
            cells += [f"{seconds:.0f} s", f"{results['total_seconds']:.0f} s"]
            lines.append(f"| {dataset} | {attention} | {' | '.join(cells)} |")
            (output / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def extract(dataset: str, output: Path) -> float:
    """Extract a data set at 512 px; seconds of the first run, start-up included."""
    times = output / f"{dataset}-extract.json"
    if times.exists():
        return float(json.loads(times.read_text(encoding="utf-8"))["seconds"])
    source = Path(os.environ["SAMCACHE_DATA"]) / f"{dataset}.npz"
    checkpoint = Path(os.environ["SAMCACHE_WEIGHTS"]) / "mobile_sam.pt"
    words = ["extract", source, "--store", output / f"{dataset}.zarr", "--encoder", "vit_t"]
    started = time.perf_counter()
    samcache(*words, "--checkpoint", checkpoint, "--image-size", 512)
    seconds = time.perf_counter() - started
    times.write_text(json.dumps({"seconds": seconds}), encoding="utf-8")
    return seconds


def train(dataset: str, attention: str, options: list[str], output: Path) -> dict[str, Any]:
    """Train three seeds, or read the results of an earlier run."""
    run = output / f"{dataset}-{attention}"
    if not (run / "results.json").exists():
        words = ["train", output / f"{dataset}.zarr", "--out", run, "--attention", attention]
        samcache(*words, *options, *TRAINING)
    results: dict[str, Any] = json.loads((run / "results.json").read_text(encoding="utf-8"))
    return results


def samcache(*words: object) -> None:
    """Run a samcache command of this Python's environment."""
    command = str(Path(sys.executable).with_name("samcache"))
    subprocess.run([command, *map(str, words)], check=True)


def score(value: dict[str, float]) -> str:
    """Mean ± sample standard deviation over seeds."""
    return f"{value['mean']:.3f} ± {value['sd']:.3f}"


if __name__ == "__main__":
    main()
