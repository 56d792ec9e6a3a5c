"""What config.json and results.json of a finished run may hold: types, ranges, and no more.

Fields that came with later versions may be absent: whoever needs one asks for it.
"""

from typing import Annotated, Any, Literal, TypedDict

from msgspec import Meta

from samcache.cache.files.typed_json import Classes, Count, Extent, Text, convert
from samcache.train.config import Attention
from samcache.train.scores.metrics import Score
from samcache.train.scores.subgroups import Subgroup
from samcache.train.tasks.options import KindName, LossName

Share = Annotated[float, Meta(ge=-1e15, le=1e15)]
Samples = Annotated[int, Meta(ge=1, le=1 << 40)]
MeanCount = Annotated[float, Meta(ge=0, le=1 << 40)]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]
Side = Annotated[int, Meta(ge=1, le=1 << 12)]  # of an image in pixels
Split = Literal["train", "val", "test"]

_MOST_CHANNELS = 1 << 15  # of all inputs; the widest encoder's five levels have a fifth of them
_MOST_VALUES = 1 << 28  # of all inputs of one image


class UsedStore(TypedDict):
    """One of several stores in config.json."""

    name: Text
    store: Text
    store_from_run: Text | None
    fingerprint: Text
    identity: dict[str, Any]


class Task(TypedDict, total=False):
    """The question of a run whose labels are not the store's own."""

    labels: Text
    sha256: Text
    target: list[Text]
    key: Text
    splits: Text
    splits_sha256: Text
    split_column: Text
    kind: KindName
    order: list[Text]
    unit: Text
    loss: LossName
    group_column: Text
    by: list[Text]
    folds_by: Text


class Config(TypedDict, total=False):
    """config.json: the options of a training, as far as a reader depends on them."""

    store: Text
    store_from_run: Text | None
    more_stores: list[Text]
    stores: Annotated[list[UsedStore], Meta(min_length=2)]
    out: Text
    attention: Attention
    backbone: Text
    pretrained: Text | None
    pretrained_sha256: Text | None
    stem: Text
    taps: dict[Text, Text] | None
    reduction: Extent
    fusion: Text
    join: bool
    epochs: Count
    folds: Count | None
    ordered: bool
    image_size: Side
    batch_size: Count
    keep: Literal["best", "last"]
    augment: bool
    inputs: dict[Text, tuple[Extent, Extent, Extent]]
    fingerprint: Text
    identity: dict[str, Any]
    classes: Annotated[Classes, Meta(min_length=1)]
    target: dict[str, Any]
    task: Task
    samples: dict[Split, Text]
    versions: dict[Text, Text]


class Member(TypedDict, total=False):
    """One training in results.json."""

    seed: Count
    fold: Count | None
    fraction: Share
    samples: dict[Split, Count]
    kept_epoch: Count
    val_auc: Share
    val_kappa: Score
    val_mae: Score
    train_seconds: Seconds
    scores: dict[Text, Score]


class Copies(TypedDict):
    """Images in results.json that occur in more than one split."""

    ids: list[Text]
    splits: list[Split]
    labels: list[Count]


class Results(TypedDict, total=False):
    """results.json, but for its scores, which FractionScores describes."""

    dataset: Text
    fingerprint: Text
    classes: Classes
    folds: Count | None
    missing: Count
    unreadable: Count
    parted_groups: Count
    leaks: list[Copies]
    fractions: Annotated[list[dict[str, Any]], Meta(min_length=1)]
    members: list[Member]
    subgroups: list[Subgroup]
    intervals: Text
    load_seconds: Seconds
    total_seconds: Seconds
    files: dict[Text, Text]


def check_config(config: dict[str, Any]) -> None:
    """Raise ValueError where a field of config.json has another type or range than it may have."""
    found = convert(config, Config)
    if len(set(found.get("classes", ()))) < len(found.get("classes", ())):
        raise ValueError("classes: expected each name once")
    shapes = found.get("inputs", {}).values()
    if sum(shape[0] for shape in shapes) > _MOST_CHANNELS:
        raise ValueError(f"inputs: expected at most {_MOST_CHANNELS} channels")
    if sum(channels * height * width for channels, height, width in shapes) > _MOST_VALUES:
        raise ValueError(f"inputs: expected at most {_MOST_VALUES} values an image")


def check_results(results: dict[str, Any], classes: int | None) -> None:
    """Raise ValueError where a field of results.json has another type or range than it may have.

    classes: how many the labels of its leaks count; None where these are no classes, but strata.
    """
    for copies in convert(results, Results).get("leaks", []):
        counts = {len(copies["ids"]), len(copies["splits"]), len(copies["labels"])}
        if len(counts) > 1 or (
            classes is not None and any(label >= classes for label in copies["labels"])
        ):
            raise ValueError("leaks: expected an id, a split and a label of each image")
