"""The options of a training, which ``train`` and ``sweep`` share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from samcache.commands.options import At, AutoOr, CommaList, Device, Positive, Share, option

ATTENTION = click.Choice(
    ["none", "slca", "shuffled", "random", "global", "per-location"]  # of train/data/controls.py
)
FUSION = click.Choice(["gate", "residual"])
RESIDENCY = click.Choice(["device", "memory", "disk"])
PRECISION = click.Choice(["auto", "float32", "bfloat16"])
STEM = click.Choice(["standard", "small"])
KEEP = click.Choice(["best", "last"])
SCHEDULE = click.Choice(["onecycle", "cosine"])


_PROTOCOL_OPTIONS = (
    option("--seeds", type=CommaList(int), default="0,1,2", help="One training per seed."),
    option("--folds", type=At(2), help="Cross-validate over all samples, patients whole."),
    option(
        "--fractions", type=CommaList(float), default="1", help="Shares of the training samples."
    ),
    option("--ordered", is_flag=True, help="Classes are grades in order: quadratic kappa too."),
)


def protocol_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which trainings make an experiment."""
    for decorate in reversed(_PROTOCOL_OPTIONS):
        command = decorate(command)
    return command


_TRAINING_OPTIONS = (
    option("--attention", type=ATTENTION, default="slca", help="SLCA, none, or a control of it."),
    option("--backbone", default="resnet18", help="resnet18 to 152, swin_v2_t, _s, _b, timm:NAME."),
    option("--pretrained", help="Weights: a file, or download.  [default: random]"),
    option("--stem", type=STEM, default="standard", help="small: 3x3 stride 1 for small images."),
    option("--taps", type=CommaList(), help="LEVEL:STAGE or :MODULE.  [default: patch:stem …]"),
    option(
        "--kernel", type=AutoOr(), default="auto", help="SLCA's pooling, in the encoder's cells."
    ),
    option("--reduction", type=At(1), default=4, help="SLCA's channel reduction r."),
    option("--fusion", type=FUSION, default="gate", help="X*A, or X + X*A."),
    option("--join/--no-join", default=False, help="A head of the levels' spreads joins in."),
    option("--epochs", type=At(1), default=30),
    option("--image-size", type=At(16), help="Classifier's input.  [default: cache's, up to 224]"),
    option("--batch-size", type=At(2), default=64),
    option("--lr", type=Positive, default=1e-3, help="AdamW's peak learning rate."),
    option("--weight-decay", type=Share(min=0), default=0.05),
    option("--schedule", type=SCHEDULE, default="onecycle"),
    option("--class-weights", is_flag=True, help="Weight the loss by inverse class frequency."),
    option("--balanced-sampling", is_flag=True, help="Draw every class equally often."),
    option("--label-smoothing", type=Share(0, 1, max_open=True), default=0.0),
    option("--mixup", type=Share(min=0), default=0.0, help="Alpha of mixup; 0 is off."),
    option("--keep", type=KEEP, default="best", help="Epoch: best validation AUC, or last."),
    option("--patience", type=At(1), help="Stop after so many epochs without a better one."),
    option("--augment/--no-augment", default=True, help="Cached views; photometric changes."),
    option("--device", type=Device(), default="auto", help="auto, cpu, cuda, cuda:1, mps."),
    option("--precision", type=PRECISION, default="auto", help="auto: bfloat16 on GPUs with it."),
    option("--compile", is_flag=True, help="Compile the classifier: a slow start, faster epochs."),
    option("--residency", type=RESIDENCY, help="Where the data lie.  [default: first with room]"),
)


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every single training."""
    for decorate in reversed(_TRAINING_OPTIONS):
        command = decorate(command)
    return command
