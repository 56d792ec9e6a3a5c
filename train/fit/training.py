"""Train one member: epochs of AdamW, the epoch that is kept, and its predictions."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from samcache.cache.errors import ConfigError
from samcache.train.config import TrainConfig
from samcache.train.data.augment import Photometric
from samcache.train.data.batches import draw_mixing_shares, mix_samples, move_batches, order_batches
from samcache.train.data.dataset import Scale, TrainingData
from samcache.train.fit import distributed
from samcache.train.fit.build import DrawnBackbone, build_classifier
from samcache.train.fit.checkpoint import Checkpoints
from samcache.train.fit.memory import report_memory_errors
from samcache.train.fit.objective import Objective
from samcache.train.fit.precision import compute_in
from samcache.train.fit.schedule import make_scheduler
from samcache.train.tasks.splits import Member
from samcache.train.tasks.targets.base import LossOptions

_log = logging.getLogger(__name__)
LABELS = "labels"  # the name of the scale of a number's labels
_RANKS_APART = 1_000_000_007_000_003  # seeds of the processes' own draws


class DivergedError(ConfigError):
    """The loss is no longer finite: these options do not train."""


@dataclass(frozen=True)
class EpochMetrics:
    """One line of metrics.csv; losses are the target's, such as cross-entropy in nats."""

    seed: int
    fold: int | None
    fraction: float
    epoch: int  # from 1
    lr: float  # at the epoch's end
    train_loss: float
    val_loss: float
    scores: dict[str, float]  # of validation, by the metric's name
    selection: str  # the metric that chooses the epoch to keep
    seconds: float

    @property
    def selected(self) -> float:
        """The value of the metric that chooses the epoch."""
        return self.scores[self.selection]

    def to_line(self) -> dict[str, Any]:
        """The line by its columns: a metric of validation is ``val_NAME``."""
        line = {name: value for name, value in vars(self).items() if name != "selection"}
        scores, seconds = line.pop("scores"), line.pop("seconds")
        return line | {f"val_{k}": v for k, v in scores.items()} | {"seconds": seconds}

    @classmethod
    def from_line(cls, line: dict[str, Any], selection: str) -> "EpochMetrics":
        """What ``to_line`` has written."""
        names = {field.name for field in fields(cls)}
        scores = {k.removeprefix("val_"): v for k, v in line.items() if k not in names}
        own = {k: v for k, v in line.items() if k in names}
        return cls(**own, scores=scores, selection=selection)


@dataclass(frozen=True)
class MemberResult:
    """A trained member: the kept epoch's weights, and their probabilities for its samples.

    weights: the state dict on the CPU; probabilities: (n, K) float32, the target's outputs in the
    data's order, NaN for samples that are neither validation nor test; scales: those of its
    training rows, as ``TrainingData.list_scales`` has them, and LABELS of a scaled target.
    """

    member: Member
    kept_epoch: int
    epochs: list[EpochMetrics]
    weights: dict[str, Tensor]
    probabilities: npt.NDArray[np.float32]
    scales: dict[str, Scale]


def train_member(
    member: Member,
    data: TrainingData,
    config: TrainConfig,
    taps: dict[str, str],
    on_epoch: Callable[[EpochMetrics], None],
    checkpoints: Checkpoints | None = None,
    drawn: DrawnBackbone | None = None,
) -> MemberResult:
    """Train one member on the data's device; same seed, same CPU, same bits.

    With checkpoints, training resumes after the last saved epoch, to the same result as without the
    interruption on a CPU, and a finished member is not trained again. drawn: the member's untrained
    backbone, where it is built already. Raises DivergedError where the loss is no longer finite,
    TooLargeError where a GPU has no memory for a step.
    """
    saved = checkpoints.load(member.name) if checkpoints else None
    if checkpoints and saved and "probabilities" in saved:
        with checkpoints.reading(member.name):
            return _restore_finished(member, data, saved)
    own_gpu = [data.device] if data.device.type == "cuda" else []
    # by default fork_rng would open every GPU of the machine
    with torch.random.fork_rng(own_gpu), report_memory_errors(member.name, data, config.batch_size):
        torch.manual_seed(member.seed)
        training = _Training(member, data, config, taps, drawn)
        if checkpoints and saved:
            with checkpoints.reading(member.name):
                training.restore(saved)
        while not training.finished:
            line = training.run_epoch()
            told = member.name, line.epoch, line.val_loss, line.selection, line.selected
            _log.info("%s, epoch %d: val loss %.4f, %s %.4f", *told)
            on_epoch(line)
            if checkpoints and checkpoints.due and distributed.get_rank() == 0:
                checkpoints.save(member.name, training.collect_state())
        result = training.make_result()
        if checkpoints and distributed.get_rank() == 0:
            done = training.summarise() | {"probabilities": torch.from_numpy(result.probabilities)}
            checkpoints.save(member.name, done)
        return result


def _restore_finished(member: Member, data: TrainingData, saved: dict[str, Any]) -> MemberResult:
    """The result of a member that was finished before the run was interrupted."""
    selection = data.target.selection
    epochs = [EpochMetrics.from_line(line, selection) for line in saved["epochs"]]
    best = saved["kept_epoch"], epochs, saved["kept_weights"]
    scales = data.list_scales() | _scale_labels(data, member)
    return MemberResult(member, *best, saved["probabilities"].numpy(), scales)


def _scale_labels(data: TrainingData, member: Member) -> dict[str, Scale]:
    """LABELS -> the scale of a member's training labels, for a target that has one."""
    if not data.target.scaled:
        return {}
    labels = data.labels.cpu()[member.train]
    return {LABELS: Scale.of(labels.mean(), labels.std())}


class _Training:
    """A member in training: everything that its next epoch depends on."""

    def __init__(
        self,
        member: Member,
        data: TrainingData,
        config: TrainConfig,
        taps: dict[str, str],
        drawn: DrawnBackbone | None,
    ) -> None:
        self.member, self.data, self.config = member, data, config
        self.model = build_classifier(config, data, taps, drawn).to(data.device)
        self.model.to(memory_format=torch.channels_last)  # what convolutions are fastest in
        if config.compile:
            self.model.compile()
        self.trained = distributed.wrap_model(self.model, data.device)
        self.shuffle = torch.Generator().manual_seed(member.seed)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
        self.scheduler = make_scheduler(self.optimizer, config, len(member.train))
        self.scale = _scale_labels(data, member)
        self.labels = self._standardise(data.labels)
        trained_on = self.labels[member.train.to(data.device)]
        self.loss = Objective.of(config, data.target, trained_on)
        self.plain = data.target.make_loss(LossOptions(config.task.loss), trained_on)
        self.epochs: list[EpochMetrics] = []
        self.kept_epoch = 0
        self.kept_weights: dict[str, Tensor] = {}

    @property
    def finished(self) -> bool:
        """After the last epoch, or where patience has run out."""
        waited = len(self.epochs) - self.kept_epoch
        impatient = self.config.patience is not None and waited >= self.config.patience
        return len(self.epochs) >= self.config.epochs or (impatient and bool(self.epochs))

    def run_epoch(self) -> EpochMetrics:
        """Train one epoch, validate, and keep the weights if the epoch is the one to keep."""
        started = time.perf_counter()
        epoch = len(self.epochs) + 1
        loss = self._train(epoch)
        rows = self.member.val
        distributed.share_buffers(self.model)
        with compute_in(self.config.precision, self.data.device):
            logits = self._predict(rows)
        self._refuse_divergence(loss, logits)
        val_loss, scores = self._validate(logits, rows)
        lr = float(self.scheduler.get_last_lr()[0])
        key = self.member.seed, self.member.fold, self.member.fraction
        seconds = time.perf_counter() - started
        told = scores, self.data.target.selection
        self.epochs.append(EpochMetrics(*key, epoch, lr, loss, val_loss, *told, seconds))
        if self.config.keep == "last" or self._is_best():
            self.kept_epoch = epoch
            state = self.model.state_dict()
            self.kept_weights = {k: v.detach().cpu().clone() for k, v in state.items()}
        return self.epochs[-1]

    def _refuse_divergence(self, loss: float, logits: Tensor) -> None:
        """Raise DivergedError where an epoch's loss, or what the weights say then, is no number."""
        if math.isfinite(loss) and logits.isfinite().all():
            return
        finite = float(logits.isfinite().float().mean())
        raise DivergedError(
            f"{self.member.name} diverged: in epoch {len(self.epochs) + 1} its loss is {loss:.3g}, "
            f"and {finite:.0%} of its validation logits are numbers: try a learning rate below "
            f"{self.config.lr:g}, residual fusion, or more epochs, which warm up more slowly; "
            f"{self._describe_levels()}",
            hint="lr fusion epochs",
        )

    def _is_best(self) -> bool:
        """Whether the last epoch is better than the one that is kept."""
        if self.kept_epoch == 0:
            return True
        rank = self.data.target.rank_epoch
        last, kept = self.epochs[-1], self.epochs[self.kept_epoch - 1]
        return rank(last.scores, last.val_loss) > rank(kept.scores, kept.val_loss)

    def _standardise(self, labels: Tensor) -> Tensor:
        """Labels in units of the training rows, where the target is scaled."""
        if LABELS not in self.scale:
            return labels
        scale = self.scale[LABELS].to(labels.device)
        return (labels - scale.mean.flatten()) / scale.std.flatten()

    def _activate(self, logits: Tensor) -> Tensor:
        """Outputs (m, K) in the labels' own units from logits (m, L), on the CPU."""
        outputs = self.data.target.activate(logits)
        if LABELS not in self.scale:
            return outputs
        return self.scale[LABELS].undo(outputs)

    def _validate(self, logits: Tensor, rows: Tensor) -> tuple[float, dict[str, float]]:
        """The plain loss, and the metrics, of some rows' logits (m, L) on the CPU."""
        labels = self.labels[rows.to(self.labels.device)].cpu()
        loss = self.plain.sum(logits[None], labels) / self.plain.count(labels)
        own = self.data.labels[rows.to(self.data.device)].cpu().numpy()
        return float(loss), self.data.target.validate(own, self._activate(logits).numpy())

    def _train(self, epoch: int) -> float:
        """One pass over the training rows, of each batch this process's part; the mean loss."""
        config, data, device = self.config, self.data, self.data.device
        # drawn from seed and epoch, so that a checkpoint need not hold their state
        seed = self.member.seed * 1_000_003 + epoch + distributed.get_rank() * _RANKS_APART
        draws = torch.Generator(device).manual_seed(seed)
        if distributed.get_rank() > 0:
            torch.manual_seed(seed)  # each process drops out its own
        augment = Photometric() if config.augment else None
        least = 2 * distributed.count_processes()  # batch norm cannot take a single sample
        balanced = self.labels if config.balanced_sampling else None
        batches = order_batches(self.member.train, config.batch_size, self.shuffle, least, balanced)
        if not batches:
            few = min(config.batch_size, len(self.member.train))
            short = few < config.batch_size
            raise ConfigError(
                f"{self.member.name} has {few} samples for a step, which needs at least {least}: "
                f"give {'larger fractions' if short else 'a larger batch size'}",
                hint="fractions" if short else "batch_size",
            )
        shares = draw_mixing_shares(config.mixup, len(batches), self.member.seed, epoch)
        here, beside_images = (
            move_batches(batches, where) for where in (device, data.images.device)
        )
        self.trained.train()
        losses = []
        for batch, places, share in zip(here, beside_images, shares, strict=True):
            rows = distributed.share(batch)
            drawn = self._draw_views(len(rows), draws)
            images, maps = data.make_inputs(distributed.share(places), drawn)
            if augment:
                images = augment(images, draws)
            labels, whole = self.labels[rows], self.labels[batch]
            partners = None
            if share < 1:
                partners = torch.randperm(len(rows), generator=draws, device=device)
                images = mix_samples(images, partners, share)
                maps = {
                    level: mix_samples(values, partners, share) for level, values in maps.items()
                }
            with compute_in(config.precision, device):
                logits = self.trained(images, maps)  # heads, B, K
            loss = self.loss(logits, labels, whole)
            if partners is not None:
                loss = share * loss + (1 - share) * self.loss(logits, labels[partners], whole)
            self.optimizer.zero_grad()
            torch.autograd.backward(loss)
            self.optimizer.step()
            self.scheduler.step()
            losses.append(loss.detach())
        return float(distributed.average(torch.stack(losses).mean()))

    def _draw_views(self, rows: int, draws: torch.Generator) -> Tensor | None:
        """A view for each of some rows; None where there is but one."""
        count = len(self.data.views)
        if count == 1:
            return None
        return torch.randint(count, (rows,), generator=draws, device=self.data.device)

    def _predict(self, rows: Tensor) -> Tensor:
        """Logits of some rows (m, K) in every process, each having computed its share."""
        own = predict(self.model, self.data, distributed.share(rows), self.config.batch_size)
        return distributed.gather_rows(own, len(rows), self.data.device)

    @torch.no_grad()
    def _describe_levels(self) -> str:
        """Mean, deviation and largest value of every level's maps and gates, of some images."""
        rows = self.member.train[: self.config.batch_size].to(self.data.images.device)
        images, maps = self.data.make_inputs(rows)
        values = {"images": images, **maps}
        for level, gates in self.model.compute_gates(maps).items():
            values[f"{level} gates"] = gates
        statistics = [
            f"{name} {x.mean():.3g}, {x.std():.3g}, {x.abs().max():.3g}"
            for name, x in values.items()
        ]
        return f"mean, deviation and largest value now: {'; '.join(statistics)}"

    def make_result(self) -> MemberResult:
        """The kept epoch's weights and their probabilities for validation and test, in float32.

        Predict always computes in float32, too.
        """
        self.model.load_state_dict(self.kept_weights)
        shape = len(self.data.labels), len(self.data.target.names)
        probabilities = torch.full(shape, torch.nan)
        for part, rows in ("validation", self.member.val), ("test", self.member.test):
            if len(rows) == 0:  # of test, in a sweep
                continue
            logits = self._predict(rows)
            if lost := int((~logits.isfinite()).any(dim=1).sum()):
                raise DivergedError(
                    f"{self.member.name} gives {lost} of {len(logits)} {part} samples no finite "
                    f"number: try a learning rate below {self.config.lr:g}, or residual fusion",
                    hint="lr fusion",
                )
            probabilities[rows] = self._activate(logits)
        best = self.kept_epoch, self.epochs, self.kept_weights
        scales = self.data.list_scales() | self.scale
        return MemberResult(self.member, *best, probabilities.numpy(), scales)

    def summarise(self) -> dict[str, Any]:
        """What a checkpoint keeps of a finished member."""
        return {
            "epochs": [line.to_line() for line in self.epochs],
            "kept_epoch": self.kept_epoch,
            "kept_weights": self.kept_weights,
        }

    def collect_state(self) -> dict[str, Any]:
        """All that the next epoch depends on, for ``restore``."""
        state = self.summarise()
        for name in ("model", "optimizer", "scheduler"):
            state[name] = getattr(self, name).state_dict()
        state["shuffle"], state["random"] = self.shuffle.get_state(), torch.get_rng_state()
        if self.data.device.type == "cuda":
            state["random_cuda"] = torch.cuda.get_rng_state(self.data.device)
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        selection = self.data.target.selection
        self.epochs = [EpochMetrics.from_line(line, selection) for line in state["epochs"]]
        self.kept_epoch, self.kept_weights = state["kept_epoch"], state["kept_weights"]
        for name in ("model", "optimizer", "scheduler"):
            getattr(self, name).load_state_dict(state[name])
        self.shuffle.set_state(state["shuffle"])
        torch.set_rng_state(state["random"])
        if "random_cuda" in state:
            torch.cuda.set_rng_state(state["random_cuda"], self.data.device)


@torch.no_grad()
def predict(model: nn.Module, data: TrainingData, rows: Tensor, batch_size: int) -> Tensor:
    """Logits of some rows in evaluation mode, (len(rows), K) float32 on the CPU."""
    model.eval()
    batches = torch.split(rows.to(data.images.device), batch_size)
    return torch.cat(
        [model(*data.make_inputs(batch)).float().mean(dim=0) for batch in batches]
    ).cpu()
