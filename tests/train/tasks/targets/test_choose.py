"""Which kind of answer columns hold, and the labels that follow."""

import numpy as np
import pandas as pd
import pytest

from samcache.cache.errors import ConfigError
from samcache.train.tasks.options import TaskOptions
from samcache.train.tasks.targets.base import Target
from samcache.train.tasks.targets.choose import choose_target, find_unknown, read_target
from samcache.train.tasks.targets.classes import Classes
from samcache.train.tasks.targets.findings import Findings
from samcache.train.tasks.targets.grades import Grades
from samcache.train.tasks.targets.number import Number

UNSURE = [["1", "0"], ["0", ""], ["-1", "1"]]


def choose(values: list[str] | list[list[str]], **options: object) -> tuple[Target, np.ndarray]:
    names = ["x"] if isinstance(values[0], str) else ["x", "y"]
    table = pd.DataFrame(values, columns=names)
    target = choose_target(table, TaskOptions(**options))  # type: ignore[arg-type]
    return target, target.encode(table)


@pytest.mark.parametrize(
    ("values", "options", "target", "labels"),
    [
        (["b", "a", "b"], {}, Classes(("a", "b")), [1, 0, 1]),
        (["10", "9", "10"], {}, Classes(("9", "10")), [1, 0, 1]),
        (["mild", "none"], {"order": ("none", "mild", "severe")}, Grades(("none", "mild")), [1, 0]),
        (["2", "0", "10"], {"kind": "ordinal"}, Grades(("0", "2", "10")), [1, 0, 2]),
        (["1", "0"], {"kind": "ordinal", "loss": "corn"}, Grades(("0", "1"), True), [1, 0]),
        (["1,5", "2.25"], {"kind": "number", "unit": "mm"}, Number(("x",), "mm"), [1.5, 2.25]),
        (UNSURE, {}, Findings(("x", "y")), [[1, 0], [0, np.nan], [np.nan, 1]]),
        (["b|a", "No Finding"], {"kind": "multilabel"}, Findings(("a", "b")), [[1, 1], [0, 0]]),
        (["1", "0", "-1"], {"kind": "multilabel"}, Findings(("x",)), [[1], [0], [np.nan]]),
    ],
)
def test_a_column_is_read_as_its_kind(
    values: list[str], options: dict[str, object], target: Target, labels: list[object]
) -> None:
    found, read = choose(values, **options)
    assert found == target
    np.testing.assert_array_equal(read, np.array(labels, dtype=read.dtype))
    assert read_target(found.to_json()) == found, "as config.json keeps it"


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([f"{k / 7:.3f}" for k in range(40)], {}, "40 different numbers .*: choose number, ord"),
        (["a|b", "a"], {}, r"cells of x hold '\|'.*: choose multilabel .*or class"),
        ([f"p{k}" for k in range(60)], {}, "60 different values .*: name another column, or choo"),
        (UNSURE, {"kind": "class"}, "class has one column, and 2 are given"),
        ([["1", "0"], ["maybe", "0"]], {}, "x holds 'maybe', and a finding's column holds 1, 0"),
        (["low", "high"], {"kind": "ordinal"}, "holds 'high', and grades that are no numbers"),
        (["low", "mid"], {"order": ("low", "high")}, "holds 'mid', which the order low, high do"),
        (["1", "old"], {"kind": "number"}, "x holds 'old', which is no number"),
        (["4", "4"], {"kind": "number"}, "x is 4 in every row"),
        (["No Finding", "no finding"], {"kind": "multilabel"}, "x names no finding"),
    ],
)
def test_what_several_kinds_fit_or_none_is_refused(
    values: list[str], options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        choose(values, **options)


def test_words_that_say_nothing_are_unknown() -> None:
    table = pd.DataFrame({"x": ["", "NaN", "unknown", "0", "none", "?"]})
    assert find_unknown(table).tolist() == [True, True, True, False, False, True]


@pytest.mark.parametrize(
    "value", [None, {}, {"kind": "guess"}, {"kind": "class", "names": []}, {"kind": "number"},
              {"kind": "class", "names": ["a", "a"]}, {"kind": "class", "names": ["a"], "z": 1}]
)  # fmt: skip
def test_another_target_in_a_run_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_target(value)
