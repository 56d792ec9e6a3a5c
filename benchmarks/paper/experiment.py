"""What the experiment consists of: data sets, arms, seeds, fractions, and the settings of each."""

import shlex
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from candidates import CANDIDATES, SHARED, Fields

from samcache.cache.store import Store
from samcache.train.config import GATES_ALONE, TrainConfig, make_command
from samcache.train.tasks.options import TaskOptions

_UNGATED: Fields = {"attention": "none", **{n: getattr(TrainConfig, n) for n in GATES_ALONE}}
ARMS: dict[str, Fields] = {  # what each changes in its setting, which but for none is slca's
    "none": _UNGATED,
    "slca": {},
    "gates": {"join": False},
    "head": _UNGATED,
    "shuffled": {"attention": "shuffled"},
    "random": {"attention": "random"},
    "global": {"attention": "global"},
}
PAIRS = (  # of arms that are compared: the first minus the second
    *(("slca", other) for other in ARMS if other != "slca"),
    ("gates", "none"),
    ("head", "none"),
)
CURVES = ("none", "slca")  # arms that are trained on fractions of the training samples too
CURVE = "-curve"  # behind such an arm's name: the run of its fractions
RUNS = (*ARMS, *(arm + CURVE for arm in CURVES))


@dataclass(frozen=True)
class Dataset:
    """One data set; ``source`` lies below the folder that SAMCACHE_DATA names.

    image_size: of the classifier's images, in pixels; 28 px originals hold no more than 32.
    """

    name: str
    title: str
    source: str
    image_size: int
    ordered: bool = False  # its classes are grades


@dataclass(frozen=True)
class Experiment:
    """The plan; a test makes a smaller one."""

    datasets: tuple[Dataset, ...] = (
        Dataset("breastmnist", "BreastMNIST", "breastmnist.npz", 32),
        Dataset("retinamnist", "RetinaMNIST", "retinamnist.npz", 32, ordered=True),
        Dataset("isic2017", "ISIC 2017", "isic2017_256/labels.csv", 64),
    )
    shared: Fields = field(default_factory=lambda: SHARED)
    candidates: dict[str, dict[str, Fields]] = field(default_factory=lambda: CANDIDATES)
    folds: int = 3
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    fractions: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5)  # beside the full training data

    def setting(self, dataset: Dataset, arm: str, candidate: str) -> TrainConfig:
        """How an arm is trained with a candidate's setting, seen from the work folder."""
        tuned = arm if arm in self.candidates else "slca"
        own: Fields = {
            "image_size": dataset.image_size,
            "task": TaskOptions(ordered=dataset.ordered),
        }
        how = {**self.shared, **own, **self.candidates[tuned][candidate], **ARMS[arm]}
        out = Path("runs") / dataset.name / arm
        return TrainConfig(f"{dataset.name}.zarr", out, **how)


def options(setting: TrainConfig) -> str:
    """The options of ``samcache train`` that make a setting, without its arm and folders."""
    words = make_command(replace(setting, attention=TrainConfig.attention))
    return shlex.join(words[5:])  # behind samcache train STORE --out RUN


def samcache(words: list[str], folder: Path) -> None:
    """Run a samcache command of this Python's environment in a folder."""
    command = Path(sys.executable).with_name("samcache")
    subprocess.run([command, *words], cwd=folder, check=True)


def missing_images(store: Path) -> int | None:
    """How many images a store still lacks; None where there is no store yet."""
    if not (store / "zarr.json").exists():
        return None
    return int((Store(store).samples["status"] == "missing").sum())
