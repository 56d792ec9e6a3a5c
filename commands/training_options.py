"""The options of a training, which ``train`` and ``sweep`` share; defaults are TrainConfig's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from samcache.commands.options import AutoOr, Device, make_option
from samcache.train.config import TrainConfig
from samcache.train.tasks.options import TaskOptions

train_option = functools.partial(make_option, TrainConfig)
_task_option = functools.partial(make_option, TaskOptions)

_TASK_OPTIONS = {
    "labels": _task_option(
        "labels", help="Take labels from this CSV, TSV, Parquet or MedMNIST file."
    ),
    "target": _task_option(
        "target", help="Predict these columns of --labels, or of those that the store keeps."
    ),
    "key": _task_option(
        "key", help="Match id, case, sha256, or COLUMN of ids, or case=COLUMN.  [default: found]"
    ),
    "splits": _task_option("splits", help="Take splits from this file: id and split."),
    "split_column": _task_option("split_column", help="Take splits from a column of --labels."),
    "group_column": _task_option(
        "group_column", help="Keep images together that agree in a column of --labels."
    ),
    "kind": _task_option("kind", help="Say what the answer is.  [default: inferred]"),
    "order": _task_option("order", help="Grades, the lowest first.  [default: by number]"),
    "ordered": _task_option(
        "ordered", help="Treat classes as ordered grades: report quadratic kappa too."
    ),
    "unit": _task_option("unit", help="Unit of a number, such as years."),
    "loss": _task_option("loss", help="Choose the loss.  [default: the kind's first]"),
    "by": _task_option("by", help="Report subgroups by these columns of --labels."),
    "folds_by": _task_option("folds_by", help="Hold out each value of a column of --labels once."),
}
OF_ONE_TRAINING = tuple(name for name in _TASK_OPTIONS if name not in ("by", "folds_by"))


def task_options(
    *names: str,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add options of the question, all unless named, as one argument ``task``."""
    chosen = names or tuple(_TASK_OPTIONS)

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_task(**given: Any) -> Any:
            fields = {name: given.pop(name) for name in chosen}
            fields = {name: value for name, value in fields.items() if value is not None}
            return command(task=TaskOptions(**fields), **given)

        wrapped: Callable[..., Any] = with_task
        for name in reversed(chosen):
            wrapped = _TASK_OPTIONS[name](wrapped)
        return wrapped

    return decorate


_PROTOCOL_OPTIONS = (
    train_option("seeds", help="Train once for each seed."),
    train_option("folds", help="Cross-validate over all samples; patients stay whole."),
    train_option("fractions", help="Train on these shares of the training samples."),
)


def protocol_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which trainings make an experiment."""
    for decorate in reversed(_PROTOCOL_OPTIONS):
        command = decorate(command)
    return command


_TRAINING_OPTIONS = (
    train_option("attention", help="Gate the backbone with SLCA, with nothing, or with a control."),
    train_option("backbone", help="Choose resnet18 to 152, swin_v2_t, _s, _b, or timm:NAME."),
    train_option(
        "pretrained", help="Start from a file of weights, or download.  [default: random]"
    ),
    train_option("stem", help="Use small for small images: a 3x3 convolution of stride 1."),
    train_option("taps", help="Gate LEVEL:STAGE or LEVEL:MODULE.  [default: patch:stem …]"),
    train_option("kernel", type=AutoOr(), help="Pool SLCA's maps over this many encoder cells."),
    train_option("reduction", help="Reduce SLCA's channels by this ratio r."),
    train_option("fusion", help="Multiply the stage's output X by the gates A, or add: X + X*A."),
    train_option(
        "join", "--join/--no-join", help="Add a second head that classifies the frozen features."
    ),
    train_option("epochs", help="Train for this many epochs."),
    train_option("image_size", help="Scale images to this side.  [default: cache's, up to 224]"),
    train_option("batch_size", help="Train on this many images in each step."),
    train_option("lr", help="Set AdamW's peak learning rate."),
    train_option("weight_decay", help="Set AdamW's weight decay."),
    train_option("schedule", help="Choose how the learning rate changes over the steps."),
    train_option("class_weights", help="Weight the loss by inverse class frequency."),
    train_option("balanced_sampling", help="Draw every class equally often."),
    train_option("label_smoothing", help="Smooth the labels by this share."),
    train_option("mixup", help="Mix pairs of images, with this alpha; 0 is off."),
    train_option("keep", help="Keep the epoch with the best validation AUC, or the last epoch."),
    train_option("patience", help="Stop after this many epochs without a better epoch."),
    train_option("augment", help="Draw cached views, and change brightness, contrast and noise."),
    train_option(
        "device", type=Device(keep_auto=True), help="Choose auto, cpu, cuda, cuda:1 or mps."
    ),
    train_option("precision", help="Choose the precision; auto is bfloat16 on GPUs that have it."),
    train_option("compile", help="Compile the classifier: a slow start, then faster epochs."),
    train_option("residency", help="Keep the data there.  [default: the first with room]"),
)


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every single training."""
    for decorate in reversed(_TRAINING_OPTIONS):
        command = decorate(command)
    return command
