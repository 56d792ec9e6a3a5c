"""What is compared: data sets, encoders, and how the features of each are read."""

import os
import sys
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from experiment import Dataset, Experiment

from samcache.train.config import TrainConfig

HERE = Path(__file__).parent
PAPER = HERE.parent / "paper"
IMAGE_SIZE = 256  # of the encoders' input, pixels
BACKBONE_SIZE = 32  # of the images that the trained backbone sees, pixels
EPOCHS = 8
SEEDS = (0, 1, 2)
FOLDS = 3  # over training and validation images, to choose a probe
METRICS = ("auc", "accuracy")
DATASETS = Experiment().datasets
CHOSEN = {  # of the experiment's candidates, by its folds over training and validation images
    "breastmnist": "plain",
    "retinamnist": "mixed",
    "isic2017": "mixed",
}


@dataclass(frozen=True)
class ComparedEncoder:
    """An encoder by its name in samcache; ``weights``: a file below SAMCACHE_WEIGHTS.

    Without ``weights``, the file is EfficientNet-Lite0's, which comes with a Python package.
    """

    name: str
    title: str
    weights: str = ""

    @property
    def short(self) -> str:
        """The name as a part of a file name."""
        return self.name.removeprefix("timm:")


ENCODERS = (  # the others are compared with the first
    ComparedEncoder("vit_t", "MobileSAM", "mobile_sam.pt"),
    ComparedEncoder("vit_t_med", "LiteMedSAM", "lite_medsam.pth"),
    ComparedEncoder("sam2_t", "SAM 2 tiny", "sam2_hiera_tiny_encoder_fp16.safetensors"),
    ComparedEncoder("timm:tf_efficientnet_lite0", "EfficientNet-Lite0"),
)
BASELINE = ENCODERS[0]
NO_FEATURES = ComparedEncoder("none", "no features")  # the backbone alone
TRAINED = (*ENCODERS, NO_FEATURES)
SMALLER = {("isic2017", "vit_t_med"): 128}  # input, where IMAGE_SIZE takes hours on two cores


@dataclass(frozen=True)
class Cell:
    """One encoder on one data set; paths start from the work folder."""

    dataset: Dataset
    encoder: ComparedEncoder

    @property
    def image_size(self) -> int:
        """Side of the encoder's input, pixels."""
        return SMALLER.get((self.dataset.name, self.encoder.short), IMAGE_SIZE)

    @property
    def name(self) -> str:
        """The name of its store, probe and run."""
        size = "" if self.image_size == IMAGE_SIZE else f"-{self.image_size}"
        return f"{self.dataset.name}-{self.encoder.short}{size}"

    @property
    def store(self) -> Path:
        """The store of the features; for the backbone alone, of the same images."""
        if self.encoder == NO_FEATURES:
            return Cell(self.dataset, BASELINE).store
        return Path("stores") / f"{self.name}.zarr"

    @property
    def probed(self) -> Path:
        """What the chosen probe reaches."""
        return Path("probes") / f"{self.name}.npz"

    @property
    def training(self) -> TrainConfig:
        """The joined head, or the backbone alone, with the experiment's settings, shortened."""
        setting = Experiment().setting(self.dataset, "slca", CHOSEN[self.dataset.name])
        out = Path("runs") / self.name
        if self.encoder == NO_FEATURES:
            setting = replace(setting, attention="none", join=False)
        own = {"store": str(self.store), "out": out, "image_size": BACKBONE_SIZE}
        return replace(setting, **own, seeds=SEEDS, epochs=EPOCHS)


def list_cells(
    only: tuple[str, ...] = (), among: tuple[ComparedEncoder, ...] = ENCODERS
) -> list[Cell]:
    """All cells, or those of the data sets and encoders that are named."""

    def is_wanted(name: str, names: list[str]) -> bool:
        named = set(names) & set(only)
        return not named or name in named

    datasets = [dataset.name for dataset in DATASETS]
    encoders = [encoder.short for encoder in TRAINED]
    return [
        Cell(dataset, encoder)
        for encoder, dataset in product(among, DATASETS)
        if is_wanted(dataset.name, datasets) and is_wanted(encoder.short, encoders)
    ]


def find_folder(variable: str) -> Path:
    """The folder that a variable names; ends the program where it is not set."""
    if not os.environ.get(variable):
        sys.exit(f"{variable} is not set: give the folder with the data sets, or the weights")
    return Path(os.environ[variable]).resolve()
