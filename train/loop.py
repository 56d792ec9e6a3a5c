"""One training: epochs of AdamW, the best by validation AUC, its predictions."""

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
from samcache.train.backbones import build_backbone
from samcache.train.classifier import Classifier
from samcache.train.config import TrainConfig
from samcache.train.data import TrainingData
from samcache.train.metrics import accuracy, macro_auc
from samcache.train.splits import Member


@dataclass(frozen=True)
class EpochMetrics:
    """One line of metrics.csv; losses are cross-entropy in nats."""

    seed: int
    fold: int | None
    fraction: float
    epoch: int  # from 1
    lr: float  # at the epoch's end
    train_loss: float
    val_loss: float
    val_accuracy: float
    val_auc: float
    seconds: float


@dataclass(frozen=True)
class MemberResult:
    """What one member gave: its best epoch's weights and its probabilities for every sample.

    weights: the state dict on the CPU; probabilities: (n, K) float32 in the data's order.
    """

    member: Member
    best_epoch: int
    epochs: list[EpochMetrics]
    weights: dict[str, Tensor]
    probabilities: npt.NDArray[np.float32]


def train_member(
    member: Member,
    data: TrainingData,
    config: TrainConfig,
    taps: dict[str, str],
    on_epoch: Callable[[EpochMetrics], None],
) -> MemberResult:
    """Train one member on the device where the data lie; same seed, same CPU, same bits.

    Raises ConfigError where the loss is no longer finite.
    """
    with torch.random.fork_rng():
        torch.manual_seed(member.seed)
        model = build_classifier(config, data, taps).to(data.images.device)
        shuffle = torch.Generator().manual_seed(member.seed)
        train_rows, val_rows = member.train, member.val
        steps = math.ceil(len(train_rows) / config.batch_size) * config.epochs
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
        scheduler = _scheduler(optimizer, config, steps)
        weight = _class_weight(data, train_rows) if config.class_weights else None
        epochs: list[EpochMetrics] = []
        best, best_epoch, best_weights = (-math.inf, -math.inf), 0, {}
        for epoch in range(1, config.epochs + 1):
            started = time.perf_counter()
            order = train_rows[torch.randperm(len(train_rows), generator=shuffle)]
            batches = _batches(order.to(data.images.device), config.batch_size)
            train_loss = _train_epoch(model, data, batches, optimizer, scheduler, weight)
            if not math.isfinite(train_loss):
                raise ConfigError(
                    f"the loss of {member.name} is {train_loss} in epoch {epoch}: try a lower --lr"
                )
            scores = _validate(predict(model, data, val_rows), data.labels[val_rows])
            lr = float(scheduler.get_last_lr()[0])
            seconds = time.perf_counter() - started
            key = member.seed, member.fold, member.fraction
            epochs.append(EpochMetrics(*key, epoch, lr, train_loss, *scores, seconds))
            on_epoch(epochs[-1])
            if (epochs[-1].val_auc, -epochs[-1].val_loss) > best:
                best, best_epoch = (epochs[-1].val_auc, -epochs[-1].val_loss), epoch
                best_weights = {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}
        model.load_state_dict(best_weights)
        probabilities = predict(model, data, torch.arange(len(data.labels))).softmax(1).numpy()
        return MemberResult(member, best_epoch, epochs, best_weights, probabilities)


def build_classifier(config: TrainConfig, data: TrainingData, taps: dict[str, str]) -> Classifier:
    """The untrained classifier of a configuration."""
    channels = {level: maps.shape[1] for level, maps in data.pooled.items()}
    side = data.images.shape[-1]
    backbone = build_backbone(
        config.backbone,
        len(data.classes),
        side,
        pretrained=config.pretrained,
        stem=config.stem,
    )
    return Classifier(backbone, taps, channels, config.reduction, config.fusion, side)


@torch.no_grad()
def predict(model: nn.Module, data: TrainingData, rows: Tensor) -> Tensor:
    """Logits of some rows in evaluation mode, (len(rows), K) float32 on the CPU."""
    model.eval()
    batches = torch.split(rows.to(data.images.device), 256)
    return torch.cat([model(*data.inputs(batch)).float().cpu() for batch in batches])


def _train_epoch(
    model: nn.Module,
    data: TrainingData,
    batches: list[Tensor],
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    weight: Tensor | None,
) -> float:
    """One pass over the batches; the mean loss."""
    model.train()
    losses = []
    for rows in batches:
        logits = model(*data.inputs(rows))  # B, K
        loss = F.cross_entropy(logits, data.labels[rows], weight)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        scheduler.step()
        losses.append(loss.detach())
    return float(torch.stack(losses).mean())


def _validate(logits: Tensor, labels: Tensor) -> tuple[float, float, float]:
    """Loss, accuracy and macro AUC of logits (m, K) on the CPU."""
    labels = labels.cpu()
    probabilities = logits.softmax(1).numpy()
    return (
        float(F.cross_entropy(logits, labels)),
        accuracy(labels.numpy(), probabilities),
        macro_auc(labels.numpy(), probabilities),
    )


def _batches(order: Tensor, size: int) -> list[Tensor]:
    """Batches of ``size`` rows; a last batch of one is left out, batch norm cannot take it."""
    return [batch for batch in torch.split(order, size) if len(batch) > 1]


def _class_weight(data: TrainingData, rows: Tensor) -> Tensor:
    """Inverse class frequencies of the training rows, (K,); a balanced set gives ones."""
    labels = data.labels[rows.to(data.labels.device)]
    counts = torch.bincount(labels, minlength=len(data.classes)).float()
    return counts.sum() / (len(data.classes) * counts)


def _scheduler(
    optimizer: torch.optim.Optimizer, config: TrainConfig, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    if config.schedule == "onecycle":
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=steps)
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
