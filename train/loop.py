"""One training from a seed: epochs of AdamW, the best by validation AUC, its test predictions."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samcache.cache.errors import ConfigError
from samcache.train.classifier import Classifier, build_backbone
from samcache.train.config import TrainConfig
from samcache.train.data import TrainingData
from samcache.train.metrics import accuracy, macro_auc


@dataclass(frozen=True)
class EpochMetrics:
    """One line of metrics.csv; losses are cross-entropy in nats."""

    seed: int
    epoch: int  # from 1
    lr: float  # at the epoch's end
    train_loss: float
    val_loss: float
    val_accuracy: float
    val_auc: float
    seconds: float


@dataclass(frozen=True)
class SeedResult:
    """What one seed gave: its best epoch's weights and its probabilities for every sample.

    weights: the state dict on the CPU; probabilities: (n, K) float32 in the data's order.
    """

    seed: int
    best_epoch: int
    epochs: list[EpochMetrics]
    weights: dict[str, Tensor]
    probabilities: npt.NDArray[np.float32]


def train_seed(
    seed: int,
    data: TrainingData,
    config: TrainConfig,
    taps: dict[str, str],
    device: torch.device,
    on_epoch: Callable[[EpochMetrics], None],
) -> SeedResult:
    """Train from one seed on data that lies on the device; same seed, same CPU, same bits."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_classifier(config, data, taps).to(device)
        shuffle = torch.Generator().manual_seed(seed)
        train_rows, val_rows = data.rows("train"), data.rows("val")
        steps = math.ceil(len(train_rows) / config.batch_size)
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
        scheduler = _scheduler(optimizer, config, steps * config.epochs)
        weight = _class_weight(data, config)
        normalise = _image_normaliser(data)
        epochs: list[EpochMetrics] = []
        best, best_epoch, best_weights = (-math.inf, -math.inf), 0, {}
        for epoch in range(1, config.epochs + 1):
            started = time.perf_counter()
            model.train()
            order = train_rows[torch.randperm(len(train_rows), generator=shuffle)]
            losses = []
            for rows in _batches(order, config.batch_size):
                rows = rows.to(device)
                logits = model(normalise(rows), _pooled(data, taps, rows))
                loss = F.cross_entropy(logits, data.labels[rows], weight)
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                scheduler.step()
                losses.append(loss.detach())
            train_loss = float(torch.stack(losses).mean())
            if not math.isfinite(train_loss):
                raise ConfigError(
                    f"the loss of seed {seed} is {train_loss} in epoch {epoch}: try a lower --lr"
                )
            val_logits = predict(model, data, taps, val_rows, device, normalise)
            line = _epoch_metrics(seed, epoch, scheduler, train_loss, val_logits, data, started)
            epochs.append(line)
            on_epoch(line)
            if (line.val_auc, -line.val_loss) > best:
                best, best_epoch = (line.val_auc, -line.val_loss), epoch
                best_weights = {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}
        model.load_state_dict(best_weights)
        everything = torch.arange(len(data.labels))
        logits = predict(model, data, taps, everything, device, normalise)
        return SeedResult(seed, best_epoch, epochs, best_weights, logits.softmax(1).numpy())


def build_classifier(config: TrainConfig, data: TrainingData, taps: dict[str, str]) -> Classifier:
    """The untrained classifier of a configuration."""
    channels = {level: maps.shape[1] for level, maps in data.pooled.items()}
    backbone = build_backbone(config.backbone, len(data.classes))
    return Classifier(backbone, taps, channels, config.reduction, config.fusion)


@torch.no_grad()
def predict(
    model: nn.Module,
    data: TrainingData,
    taps: dict[str, str],
    rows: Tensor,
    device: torch.device,
    normalise: Callable[[Tensor], Tensor],
) -> Tensor:
    """Logits of some rows in evaluation mode, (len(rows), K) float32 on the CPU."""
    model.eval()
    logits = []
    for batch in torch.split(rows, 256):
        batch = batch.to(device)
        logits.append(model(normalise(batch), _pooled(data, taps, batch)).float().cpu())
    return torch.cat(logits)


def _pooled(data: TrainingData, taps: dict[str, str], rows: Tensor) -> dict[str, Tensor]:
    return {level: data.standardised(level, rows) for level in taps}


def _batches(order: Tensor, size: int) -> list[Tensor]:
    """Batches of ``size`` rows; a last batch of one is left out, batch norm cannot take it."""
    return [batch for batch in torch.split(order, size) if len(batch) > 1]


def _image_normaliser(data: TrainingData) -> Callable[[Tensor], Tensor]:
    """Rows -> (B, 3, s, s) float32 images, each colour in units of the training split."""
    train = data.images[data.rows("train").to(data.images.device)].double()
    mean = train.mean(dim=(0, 2, 3)).float().view(3, 1, 1)
    std = train.std(dim=(0, 2, 3)).float().clamp(min=1e-6).view(3, 1, 1)
    return lambda rows: (data.images[rows].float() - mean) / std


def _class_weight(data: TrainingData, config: TrainConfig) -> Tensor | None:
    """Inverse class frequencies of the training split with mean 1, (K,), or None."""
    if not config.class_weights:
        return None
    labels = data.labels[data.rows("train").to(data.labels.device)]
    counts = torch.bincount(labels, minlength=len(data.classes)).float()
    return counts.sum() / (len(data.classes) * counts)


def _scheduler(
    optimizer: torch.optim.Optimizer, config: TrainConfig, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    if config.schedule == "onecycle":
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=steps)
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)


def _epoch_metrics(
    seed: int,
    epoch: int,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    train_loss: float,
    val_logits: Tensor,
    data: TrainingData,
    started: float,
) -> EpochMetrics:
    labels = data.labels.cpu()[data.rows("val")]
    probabilities = val_logits.softmax(1).numpy()
    return EpochMetrics(
        seed=seed,
        epoch=epoch,
        lr=float(scheduler.get_last_lr()[0]),
        train_loss=train_loss,
        val_loss=float(F.cross_entropy(val_logits, labels)),
        val_accuracy=accuracy(labels.numpy(), probabilities),
        val_auc=macro_auc(labels.numpy(), probabilities),
        seconds=time.perf_counter() - started,
    )
