"""Every number of a page is the ensemble's, recomputed here from predictions.csv."""

import html
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from reported_runs import DOLLAR, SCRIPT, ReportedRuns
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    roc_auc_score,
)

from samcache.cache.text import escape_controls
from samcache.train.report.page import write_report

CLASSES = (SCRIPT, DOLLAR)
RUNS = ("slca", "folds", "single")


@dataclass(frozen=True)
class Answers:
    """The mean of the seeds' probabilities, by scikit-learn's definitions and by hand."""

    ids: list[str]
    labels: npt.NDArray[np.int64]
    chances: npt.NDArray[np.float64]  # (n, 2)
    seeds: pd.DataFrame  # each seed's own scores

    @property
    def taken(self) -> npt.NDArray[np.int64]:
        return self.chances.argmax(axis=1)

    def metrics(self) -> dict[str, float]:
        return scores(self.labels, self.chances)


def scores(labels: npt.NDArray[np.int64], chances: npt.NDArray[np.float64]) -> dict[str, float]:
    taken, sure = chances.argmax(axis=1), chances.max(axis=1)
    bins = np.clip(np.ceil(sure * 15).astype(int) - 1, 0, 14)
    gaps = [abs(((taken == labels) - sure)[bins == k].sum()) for k in range(15)]
    found = {
        "accuracy": float((taken == labels).mean()),
        "balanced accuracy": balanced_accuracy_score(labels, taken),
        "F1 (macro)": f1_score(labels, taken, average="macro"),
        "AUC (macro)": roc_auc_score(labels, chances[:, 1]),
        "calibration error": sum(gaps) / len(labels),
    }
    for place, name in enumerate(CLASSES):
        found[f"AUC of {name}"] = roc_auc_score(labels == place, chances[:, place])
        found[f"AP of {name}"] = average_precision_score(labels == place, chances[:, place])
    return found


def read_answers(run: Path) -> Answers:
    table = pd.read_csv(run / "predictions.csv", keep_default_na=False)
    table = table[(table["split"] == "test") & (table["fraction"] == 1)]
    table["class"] = (table["label"] == DOLLAR).astype(int)
    columns = [f"p_{name}" for name in CLASSES]
    own = table.groupby("id")
    means = own[columns].mean()
    each = [
        scores(part["class"].to_numpy(), part[columns].to_numpy())
        for _, part in table.groupby("seed")
    ]
    labels = own["class"].first().to_numpy()
    return Answers(list(means.index), labels, means.to_numpy(), pd.DataFrame(each))


@pytest.fixture(scope="module", params=RUNS)
def page(
    request: pytest.FixtureRequest,
    reported_runs: ReportedRuns,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Answers]:
    """The source of a page, and what it should say."""
    run = getattr(reported_runs, request.param)
    out = tmp_path_factory.mktemp("numbers") / "report.html"
    write_report((run,), None, None, out)
    source = html.unescape(out.read_text(encoding="utf-8")).replace("\u00a0", " ")
    return source, read_answers(run)


def test_the_verdict(page: tuple[str, Answers]) -> None:
    source, answers = page
    metrics, text = answers.metrics(), source[source.index('class="verdict"') :]
    (auc,) = re.findall(r"the AUC is ([\d.]+) \(", text)
    (pairs,) = re.findall(r"tells which is which in (\d+) of 100", text)
    (right, constant) = re.findall(r"right class to ([\d.]+) %.*right for ([\d.]+) %\.", text)[0]
    assert auc == f"{metrics['AUC (macro)']:.3f}"
    assert pairs == f"{100 * metrics['AUC (macro)']:.0f}"
    assert right == f"{100 * metrics['accuracy']:.1f}"
    assert constant == f"{100 * np.bincount(answers.labels).max() / len(answers.labels):.1f}"
    recalls = re.findall(r"(\d+) % of “", re.findall(r"Recognised: (.*)</p>", text)[0])
    assert recalls == [f"{100 * share:.0f}" for share in shares(answers)]


def shares(answers: Answers) -> list[float]:
    return [float((answers.taken[answers.labels == k] == k).mean()) for k in range(2)]


def test_the_numbers_at_the_head(page: tuple[str, Answers]) -> None:
    source, answers = page
    tiles = re.findall(r'<li><span class="sub">(.*?)</span> <span class="number">(.*?)<', source)
    assert len(tiles) == 4
    metrics = answers.metrics()
    assert tiles == [(name, f"{metrics[name]:.3f}") for name, _ in tiles]


def test_every_row_of_the_metrics(page: tuple[str, Answers]) -> None:
    source, answers = page
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', source)
    found = {name: re.findall(r"<td[^>]*>(.*?)</td>", cells) for name, cells in rows}
    metrics, seeds = answers.metrics(), answers.seeds
    for name, value in metrics.items():
        cells = found[escape_controls(name)]
        assert cells[0] == f"{value:.3f}", name
        assert len(cells) == (4 if len(seeds) > 1 else 3)
        if len(seeds) > 1:
            mean, sd = seeds[name].mean(), seeds[name].std()
            assert cells[2].startswith(f"{mean:.3f} ± {sd:.3f} ("), name


def test_figures_count_the_same_answers(page: tuple[str, Answers]) -> None:
    source, answers = page
    metrics = answers.metrics()
    titles = re.findall(r">(AUC|AP) ([\d.]+): ", source)
    wanted = [metrics[f"AUC of {DOLLAR}"], *(metrics[f"AP of {name}"] for name in CLASSES)]
    assert [value for _, value in titles] == [f"{value:.3f}" for value in wanted]
    counts = confusion_matrix(answers.labels, answers.taken, labels=[0, 1])
    figure = source[source.index('aria-label="Confusion matrix') :]
    texts = re.findall(r">([^<>]+)</text>", figure[: figure.index("</svg>")])
    cells = [text.strip() for text in texts if re.fullmatch(r"\s*(\d+ %|\d+)\s*", text)]
    assert sorted(int(text) for text in cells if "%" not in text) == sorted(counts.ravel().tolist())
    sure = answers.chances.max(axis=1).mean()
    calibration = (
        f"Mean probability of the answers {100 * sure:.1f} %; accuracy "
        f"{100 * metrics['accuracy']:.1f} %; calibration error {metrics['calibration error']:.3f}."
    )
    assert source.count(calibration) >= 2  # in the caption, and as the figure's text alternative


def test_examples_have_the_same_answers(page: tuple[str, Answers]) -> None:
    source, answers = page
    heads = re.findall(r"<h3>(.*): (\d+) of (\d+) recognised</h3>", source)
    for place, name in enumerate(CLASSES):
        own = answers.labels == place
        hits = int((answers.taken[own] == place).sum())
        assert (escape_controls(name), str(hits), str(own.sum())) in heads
    pattern = r'class="answer">(recognised as|taken for) (.*?), ([\d.]+) %</span><br>(.*?)</figcap'
    shown = re.findall(pattern, source)
    assert len(shown) >= 2
    for verb, answer, chance, name in shown:
        place = [escape_controls(each) for each in answers.ids].index(name)
        assert chance == f"{100 * answers.chances[place].max():.1f}"
        assert answer == escape_controls(CLASSES[answers.taken[place]])
        assert (verb == "recognised as") == (answers.taken[place] == answers.labels[place])


def test_the_page_names_its_view(page: tuple[str, Answers]) -> None:
    source, answers = page
    head = source[source.index("<header>") : source.index("Before you trust")]
    if len(answers.seeds) > 1:
        assert "one classifier, the ensemble: the mean of the probabilities of 2 trainings" in head
        return
    assert "seeds" not in head
    body = source[source.index("<header>") : source.index('id="run"')]
    assert "nsemble" not in body.replace("one seed", "").lower()
    assert not re.search(r"mean over \d", body)
