"""kaiko-eva's two stages with the encoder that samcache has, as processes of their own.

    python eva_job.py predict LABELS.csv FOLDER ENCODER CHECKPOINT SIDE [overwrite]
    python eva_job.py fit FOLDER RUNS EPOCHS
    python eva_job.py online LABELS.csv ENCODER CHECKPOINT SIDE EPOCHS

``predict`` writes each image's mean of the neck's map, as eva keeps one vector an image; ``fit``
trains eva's linear head on them, ``online`` with the encoder in the loop. Its own classes from end
to end: only the data set, which eva asks its users for, and the encoder's wrapper are written here.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "helpers"))

import pandas as pd
import tiny_encoder  # noqa: F401 - makes vit_tiny known
import torch
from eva.core.callbacks.writers import ClassificationEmbeddingsWriter
from eva.core.data import DataModule, dataloaders, datasets
from eva.core.data.datamodules import DataloadersSchema, DatasetsSchema
from eva.core.data.datasets.classification import EmbeddingsClassificationDataset
from eva.core.interface import Interface
from eva.core.metrics import MetricsSchema
from eva.core.models.modules import HeadModule
from eva.core.trainers import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from samcache.extract.encoders.load import load_encoder
from samcache.extract.encoders.registry import find_architecture
from samcache.extract.images.preprocess import normalise, to_frame

SPLITS = ("train", "val", "test")
BATCH = 64


class Neck(nn.Module):
    """The encoder that samcache loads, giving the mean of its neck's map, (B, C)."""

    def __init__(self, encoder: str, checkpoint: str, side: int) -> None:
        super().__init__()
        loaded = load_encoder(find_architecture(encoder), Path(checkpoint), ("neck",), side)
        self.model, self.width = loaded.model, loaded.shapes["neck"][0]

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)["neck"].mean(dim=(2, 3))


class Images(datasets.MapDataset):
    """Images of a CSV with the columns file, split and class, as the encoder takes them."""

    def __init__(self, labels: str, split: str, side: int) -> None:
        super().__init__()
        table = pd.read_csv(labels)
        self.classes = sorted(table["class"].astype(str).unique())
        self.table = table[table["split"] == split].reset_index(drop=True)
        self.root, self.side = Path(labels).parent, side

    def filename(self, index: int) -> str:
        return str(self.table["file"][index])

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, dict[str, Any]]:
        with Image.open(self.root / self.filename(index)) as image:
            frame, extent = to_frame(image.convert("RGB"), self.side)
        label = self.classes.index(str(self.table["class"][index]))
        pixels = normalise(torch.from_numpy(frame)[None], [extent], "sam")[0]
        return pixels, torch.tensor(label), {}


def trainer(folder: Path, runs: int, epochs: int, *callbacks: Any) -> Trainer:
    """eva's trainer on one device."""
    return Trainer(
        default_root_dir=str(folder / "logs"), n_runs=runs, max_epochs=epochs,
        callbacks=list(callbacks), enable_progress_bar=False, enable_model_summary=False,
        accelerator="auto", logger=False, log_every_n_steps=1,
    )  # fmt: skip


def loaders(batch: int) -> DataloadersSchema:
    """In this process: eva starts every worker anew, which small data do not repay."""
    plain = dataloaders.DataLoader(
        batch, num_workers=0, persistent_workers=False, prefetch_factor=None, pin_memory=False
    )
    shuffled = dataloaders.DataLoader(
        batch, True, num_workers=0, persistent_workers=False, prefetch_factor=None, pin_memory=False
    )
    return DataloadersSchema(train=shuffled, val=plain, test=plain, predict=plain)


def module(width: int, backbone: nn.Module | None = None) -> HeadModule:
    """A linear head for two classes, on vectors or behind a backbone."""
    scores = MulticlassAccuracy(2, average="micro")
    return HeadModule(
        head=nn.Linear(width, 2), criterion=nn.CrossEntropyLoss(), backbone=backbone,
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
        metrics=MetricsSchema(common=[scores]),
    )  # fmt: skip


def best(folder: Path) -> ModelCheckpoint:
    """Keep the epoch with the best validation accuracy, which eva tests."""
    return ModelCheckpoint(monitor="val/MulticlassAccuracy", mode="max", dirpath=folder / "best")


def predict(
    labels: str, folder: str, encoder: str, checkpoint: str, side: str, overwrite: str = ""
) -> None:
    """Stage 1: a .pt file an image, and a manifest."""
    images = [Images(labels, split, int(side)) for split in SPLITS]
    writer = ClassificationEmbeddingsWriter(
        str(Path(folder) / "embeddings"),
        backbone=Neck(encoder, checkpoint, int(side)),
        dataloader_idx_map=dict(enumerate(SPLITS)),
        overwrite=bool(overwrite),
    )
    data = DataModule(DatasetsSchema(predict=images), loaders(8))
    Interface().predict(trainer(Path(folder), 1, 1, writer), module(1), data)


def fit(folder: str, runs: str, epochs: str) -> None:
    """Stage 2: the head, so many times."""
    root = Path(folder) / "embeddings"
    kept = [EmbeddingsClassificationDataset(str(root), "manifest.csv", split) for split in SPLITS]
    first = next(root.rglob("*.pt"))
    width = torch.load(first, weights_only=True)[0].shape[-1]
    data = DataModule(DatasetsSchema(*kept), loaders(BATCH))
    run = trainer(Path(folder), int(runs), int(epochs), best(Path(folder)))
    Interface().fit(run, module(width), data)


def online(labels: str, encoder: str, checkpoint: str, side: str, epochs: str) -> None:
    """No stage 1: the frozen encoder runs in every epoch."""
    images = [Images(labels, split, int(side)) for split in SPLITS]
    backbone = Neck(encoder, checkpoint, int(side))
    folder = Path(labels).parent / "online"
    run = trainer(folder, 1, int(epochs), best(folder))
    Interface().fit(
        run, module(backbone.width, backbone), DataModule(DatasetsSchema(*images), loaders(8))
    )


if __name__ == "__main__":
    {"predict": predict, "fit": fit, "online": online}[sys.argv[1]](*sys.argv[2:])
