"""Options and defaults of a training exist once, and a configuration is one command line."""

import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samcache.cache.files.typed_fields import FieldKind, read_field
from samcache.cli import cli
from samcache.train.config import GATES_ALONE, TrainConfig, make_command
from samcache.train.tasks.options import STORE_LABELS, TaskOptions

TASK_FIELDS = {field.name for field in fields(TaskOptions)}
NAMES = st.text("abzAZ09._/ 'é$*", min_size=1).filter(lambda text: text.strip() == text)
TEXTS = {
    "store": NAMES,
    "more_stores": st.lists(NAMES, max_size=2),
    "out": NAMES.map(Path),
    "backbone": NAMES,
    "pretrained": st.none() | NAMES,
    "device": st.just("auto") | st.just("cpu"),
    "taps": st.none()
    | st.lists(st.sampled_from(["neck:stage4", "late:net.3"]), min_size=1, max_size=2),
    "seeds": st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3),
    "fractions": st.lists(st.floats(0, 1, exclude_min=True), min_size=1, max_size=3),
}


def values_of(kind: FieldKind) -> st.SearchStrategy[Any]:
    """Values that a field may hold, as its annotation says."""
    if kind.choices:
        return st.sampled_from(kind.choices)
    if kind.value is bool:
        return st.booleans()
    if kind.value is int:
        return st.integers(int(kind.bounds.ge or 0), 10**9)
    return st.floats(0, 1e3).filter(kind.allows)


TASKS = [  # one of each sort of field
    STORE_LABELS,
    TaskOptions(ordered=True),
    TaskOptions(order=("none", "a b"), kind="ordinal", loss="corn"),
    TaskOptions(Path("t a.csv"), ("x", "y z"), "case=who", Path("s.csv"), by=("sex", "site")),
    TaskOptions(Path("t.csv"), ("age",), split_column="part", kind="number", unit="years"),
    TaskOptions(Path("t.csv"), ("x",), group_column="patient", folds_by="site"),
]


def draw_field(name: str) -> st.SearchStrategy[Any]:
    if name == "task":
        return st.sampled_from(TASKS)
    kind = read_field(TrainConfig, name)
    values = TEXTS[name] if name in TEXTS else values_of(kind)
    values = values.map(lambda value: tuple(value) if isinstance(value, list) else value)
    return values if kind.default is not None or name in TEXTS else st.none() | values


def allow(options: dict[str, Any]) -> TrainConfig:
    """The configuration, without the options that others exclude."""
    if options["attention"] == "none":
        options |= {name: getattr(TrainConfig, name) for name in GATES_ALONE}
    if options["keep"] == "last":
        options["patience"] = None
    if options["task"].folds_by:
        options["folds"] = None
    options["class_weights"] &= not options["balanced_sampling"]
    return TrainConfig(**options)


CONFIGS = st.fixed_dictionaries({f.name: draw_field(f.name) for f in fields(TrainConfig)}).map(
    allow
)


def parse(words: list[str]) -> TrainConfig:
    """The configuration that ``samcache train`` makes of the words of a command line."""
    train = cli.commands["train"]
    with train.make_context("train", words) as context:
        names = {field.name for field in fields(TrainConfig)}
        given = {k: v for k, v in context.params.items() if k in names}
        asked = {k: context.params[k] for k in TASK_FIELDS if context.params[k] is not None}
        return TrainConfig(**given, task=TaskOptions(**asked))


@given(CONFIGS)
def test_a_command_line_is_parsed_to_the_configuration_that_made_it(config: TrainConfig) -> None:
    program, command, *words = shlex.split(shlex.join(make_command(config)))
    assert (program, command) == ("samcache", "train")
    assert parse(words) == config


def test_options_have_the_defaults_of_the_configuration() -> None:
    assert parse(["a.zarr", "--out", "b"]) == TrainConfig("a.zarr", Path("b"))
    assert make_command(TrainConfig("a.zarr", Path("b")))[2:] == ["a.zarr", "--out", "b"]


def test_every_field_has_an_option() -> None:
    params = {param.name for param in cli.commands["train"].params}
    assert {field.name for field in fields(TrainConfig)} - {"task"} <= params
    assert params >= TASK_FIELDS


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lr", "0"], "0.0 is not in the range x>0"),
        (["--label-smoothing", "1"], "is not in the range 0<=x<1"),
        (["--folds", "1"], "1 is not in the range x>=2"),
        (["--image-size", "8"], "8 is not in the range x>=16"),
        (["--stem", "tiny"], "'tiny' is not one of 'standard', 'small'"),
        (["--kernel", "0"], "should be auto or a whole number from 1"),
    ],
)
def test_limits_are_those_of_the_configuration(words: list[str], message: str) -> None:
    with pytest.raises(click.BadParameter, match=message.replace("(", r"\(")):
        parse(["a.zarr", "--out", "b", *words])
