"""What a page asks of every kind of answer."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from samcache.cache.text import count_nouns
from samcache.train.report.checks.finding import CAUTION, FINE, Finding
from samcache.train.report.drawings.svg import Figure
from samcache.train.report.facts import Facts, ReportedRun
from samcache.train.scores.format import name_metric, name_selection


@dataclass(frozen=True)
class Caption:
    """The words below an example: ``words number unit``, and what the image truly is."""

    words: str
    number: str
    unit: str
    truth: str


@dataclass(frozen=True)
class NameTable:
    """A line for each finding: its name, then the cells under the heads."""

    heads: tuple[str, ...]
    rows: list[tuple[str, ...]]


class ReportKind(ABC):
    """The words and drawings of one kind of answer; the other parts of a page are the same."""

    compared: ClassVar[tuple[str, str]]  # metrics of the comparison, the headline first
    tiles: ClassVar[tuple[str, ...]]  # metrics at the head of the page
    definitions: ClassVar[Mapping[str, str]]  # metric -> what it means
    predictor: ClassVar[str] = "classifier"
    outputs: ClassVar[str] = "probabilities"  # what an ensemble is the mean of
    purpose: ClassVar[str] = "classifying images"
    nouns: ClassVar[tuple[str, str]] = ("class", "classes")
    positives: ClassVar[str] = "Images of the rarest class"  # a subgroup's column; "" for none
    contradictions: ClassVar[bool] = True  # whether two copies can contradict each other
    examples: ClassVar[str]  # how examples were chosen

    @property
    def headline(self) -> str:
        """The metric that a sentence or a figure names where it names one."""
        return self.compared[0]

    @property
    def headline_title(self) -> str:
        """The headline's short name, such as "AUC"."""
        return name_selection(self.headline)

    def name_metric(self, run: ReportedRun, metric: str) -> str:  # noqa: ARG002 - units, of some
        """A metric's name, with its unit."""
        return name_metric(metric)

    def define_metric(self, metric: str) -> str:
        """What a metric says, in a sentence or two."""
        kind, colon, _ = metric.partition(":")
        return self.definitions[kind + colon]

    @abstractmethod
    def describe_subject(self, run: ReportedRun) -> str:
        """What is predicted, for the title."""

    @abstractmethod
    def describe_data(self, run: ReportedRun) -> str:
        """What is predicted, for a sentence on the data."""

    @abstractmethod
    def write_result(self, run: ReportedRun) -> list[str]:
        """The result in two sentences or three."""

    @abstractmethod
    def draw_answers(self, run: ReportedRun) -> list[Figure]:
        """The figures of the answers to the test images."""

    @abstractmethod
    def check_test(self, facts: Facts) -> list[Finding]:
        """Checks of the test set's size, and whether the result is better than guessing."""

    @abstractmethod
    def check_outputs(self, facts: Facts) -> list[Finding]:
        """Checks of the outputs: whether they can be read as what they claim to be."""

    @abstractmethod
    def count_tested(self, run: ReportedRun) -> list[tuple[str, int]]:
        """The names that test images have, and how many have each; none of a number."""

    def list_names(self, run: ReportedRun) -> NameTable | None:  # noqa: ARG002 - of findings
        """A table of each name's metrics, where these are not lines of the table of metrics."""
        return None

    @abstractmethod
    def list_example_groups(self, run: ReportedRun) -> list[tuple[int, str]]:
        """The groups of examples, each with its heading, in order."""

    @abstractmethod
    def rank_examples(self, run: ReportedRun) -> pd.DataFrame:
        """Which images may be shown, the best examples first.

        Columns: sample, a line of ``run.samples``; group, of ``list_example_groups``; right, a
        bool. A sample may be in several groups.
        """

    @abstractmethod
    def write_caption(self, run: ReportedRun, sample: int, group: int) -> Caption:
        """What stands below an example."""


def describe_tested(run: ReportedRun) -> str:
    """Such as "On 100 test images"."""
    if run.results["folds"]:
        return f"On {count_nouns(run.scores.test_samples, 'image')}, each tested once,"
    return f"On {count_nouns(run.scores.test_samples, 'test image')}"


def check_size(run: ReportedRun, metric: str, widest: float, text: str) -> Finding:
    """Whether the test set is so large that a metric's interval is not wide; text: if it is."""
    count = run.scores.test_samples
    interval = run.metrics[metric].interval
    title = f"The test set has {count_nouns(count, 'image')}"
    if interval is None:
        alone = "All of them are of one patient, so nothing shows how other patients would differ."
        return Finding(CAUTION, f"{title} of one patient, and its numbers have no interval", alone)
    if interval.high - interval.low <= widest:
        return Finding(FINE, title)
    return Finding(CAUTION, f"{title}: that is few", text)
