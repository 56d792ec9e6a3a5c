"""The page of a run says what the run folder holds, escapes every name, and loads nothing."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import click
import pytest
from reported_runs import DOLLAR, EVIL_FILE, SCRIPT, ReportedRuns
from shown import text_of
from trained_run import copied, write_results

from samcache.cache.errors import ConfigError, StoreError
from samcache.cache.text import escape_controls
from samcache.cli import cli
from samcache.commands.show.trainings import describe_report
from samcache.train.config import TrainConfig
from samcache.train.pictures.overlay import CAUTION as CAUTION_OF_GATES
from samcache.train.report.drawings.svg import shorten_name
from samcache.train.report.facts import Facts, read_facts
from samcache.train.report.page import write_report
from samcache.train.report.reproduction import make_commands, read_config
from samcache.train.tasks.options import TaskOptions


class Page(HTMLParser):
    """What a browser would take from a page: its elements, its text, its figures' texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def written(
    reported_runs: ReportedRuns, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Page]:
    """Write a report once for each set of runs, and parse it."""
    folder, pages = tmp_path_factory.mktemp("pages"), {}

    def page(*names: str) -> Page:
        if names not in pages:
            out = folder / f"{'-'.join(names)}.html"
            write_report(tuple(getattr(reported_runs, name) for name in names), None, None, out)
            pages[names] = Page(out.read_text(encoding="utf-8"))
        return pages[names]

    return page


def facts_of(*folders: Path, **options: Any) -> Facts:
    return read_facts(folders, options.get("baseline"), options.get("store"))


def test_the_page_leads_with_the_result_and_its_interval(
    written: Callable[..., Page], reported_runs: ReportedRuns
) -> None:
    saved = json.loads((reported_runs.slca / "results.json").read_text())
    whole = next(f for f in saved["fractions"] if f["fraction"] == 1)
    auc, text = whole["ensemble"]["auc"], written("slca", "none").text
    low, high = auc["interval"]["low"], auc["interval"]["high"]
    head = text[: text.index("Before you trust a number")]
    assert f"{auc['mean']:.3f} (95 % interval {low:.3f} to {high:.3f})" in head
    assert "that of the baseline, run none (timm:test_resnet alone, without" in head
    assert "not a medical device" in head
    for name, summary in whole["metrics"].items():
        assert f"{summary['mean']:.3f} ± {summary['sd']:.3f}" in text, name


def test_a_run_of_an_earlier_version_has_the_same_ensemble(
    written: Callable[..., Page], reported_runs: ReportedRuns, tmp_path: Path
) -> None:
    saved = json.loads((reported_runs.slca / "results.json").read_text())
    for scores in saved["fractions"]:
        del scores["ensemble"]
    earlier = shutil.copytree(reported_runs.slca, tmp_path / "slca")
    write_results(earlier, saved)
    write_report((earlier,), None, None, tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8")).text
    end = page.index("Figures")
    assert page[:end] == written("slca").text[:end]


def test_results_with_another_ensemble_than_the_predictions_are_refused(
    reported_runs: ReportedRuns, tmp_path: Path
) -> None:
    run = copied(reported_runs.slca, tmp_path / "run")
    saved = json.loads((run / "results.json").read_text())
    for scores in saved["fractions"]:
        scores["ensemble"]["accuracy"]["mean"] = 0.987
    write_results(run, saved)
    with pytest.raises(ConfigError, match=r"results.json has accuracy 0.987, its predictions"):
        facts_of(run)


def test_names_from_outside_are_text(written: Callable[..., Page]) -> None:
    page = written("slca", "none")
    assert not page.all("script")
    assert all(EVIL_FILE not in str(tag) and tag != "b" for tag, _ in page.elements)
    assert {tag for tag, attributes in page.elements if "onerror" in attributes} == set()
    assert escape_controls(SCRIPT) in page.text
    assert DOLLAR in page.text
    assert "\u202e" not in page.text
    legends = [words for words in page.words if words.startswith("AP ")]
    assert any(shorten_name(SCRIPT) in words for words in legends)
    assert any(shorten_name(DOLLAR) in words for words in legends)


def test_nothing_is_loaded_from_anywhere(written: Callable[..., Page]) -> None:
    page = written("slca", "none")
    for tag, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "data", "srcset", "action", "style"):
            value = attributes.get(name) or ""
            assert not re.search(r"(^|\()\s*['\"]?(\w+:)?//", value), (tag, name, value)
            if name in ("src", "href", "xlink:href") and value:
                assert value.startswith(("#", "data:image/png;base64,")), (tag, name, value)
    assert not page.all("link")
    assert "@import" not in "".join(page.words)
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv")]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_every_figure_says_in_words_what_it_shows(written: Callable[..., Page]) -> None:
    page = written("slca", "none")
    drawings = page.all("svg")
    titles = [str(drawing["aria-label"]).partition(".")[0] for drawing in drawings]
    assert titles == [
        "ROC curve", "Precision and recall", "Confusion matrix", "Calibration",
        "Data efficiency", "Learning curves",
    ]  # fmt: skip
    assert all(re.search(r"\d", str(drawing["aria-label"])) for drawing in drawings)
    assert all(drawing["role"] == "img" for drawing in drawings)
    pictures = page.all("img")
    assert len(pictures) > 2
    assert all(picture["alt"] for picture in pictures)


def test_examples_carry_the_gates_of_every_level(written: Callable[..., Page]) -> None:
    for picture in written("slca").all("img"):
        levels = re.findall(r"; gates of (\w+) 0\.\d{3} to 0\.\d{3}", str(picture["alt"]))
        assert levels == ["patch", "early", "middle", "late", "neck"]
    assert CAUTION_OF_GATES in written("slca").text
    assert not any("gates" in str(picture["alt"]) for picture in written("none").all("img"))
    assert CAUTION_OF_GATES not in written("none").text


def test_folds_take_each_examples_own_classifier(written: Callable[..., Page]) -> None:
    page = written("folds")
    assert len(page.all("img")) >= 2
    assert "each tested once" in page.text
    assert "Data efficiency" not in page.text


def test_one_run_has_no_comparison(written: Callable[..., Page]) -> None:
    assert "Beside other runs" not in written("slca").text
    assert "what the encoder's features add at all: --attention none" in written("slca").text
    page = written("slca", "none")
    assert "slca (this report)" in page.text
    assert "none (baseline)" in page.text
    assert "only more layers: --attention shuffled or random" in page.text


def test_flaws_of_the_data_are_told_before_the_figures(written: Callable[..., Page]) -> None:
    text = written("slca").text
    warnings = text[text.index("Before you trust") : text.index("Test result")]
    assert f"train-1.png (train, {DOLLAR}) = test-39.png (test, {DOLLAR})" in warnings
    assert "train-2.png: not an image format" in warnings
    assert "The test set has 10 images: that is few" in warnings
    assert "Patients are not known" in warnings


def test_without_its_store_a_run_is_reported_without_examples(
    reported_runs: ReportedRuns, tmp_path: Path
) -> None:
    run = copied(reported_runs.slca, tmp_path / "run", store=str(tmp_path / "gone.zarr"))
    written = write_report((run,), None, None, tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text())
    assert "was not found; looked at" in written.no_store
    assert "was not found" not in text_of(describe_report(written))  # the command warns of it
    assert "There are no examples: the store of" in page.text
    assert not page.all("img")
    assert "1 image in both training and test" in page.text
    again = write_report((run,), None, str(reported_runs.store), tmp_path / "report.html")
    assert again.no_store == again.lack == ""
    with pytest.raises(StoreError, match="no store at"):
        write_report((run,), None, str(tmp_path / "gone.zarr"), tmp_path / "report.html")


def test_weights_that_are_gone_cost_the_overlays_alone(
    reported_runs: ReportedRuns, tmp_path: Path
) -> None:
    run = shutil.copytree(reported_runs.slca, tmp_path / "run")
    for path in run.glob("*.safetensors"):
        path.unlink()
    written = write_report((run,), None, None, tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text())
    assert "Gates cannot be shown" in page.text
    assert "\nGates cannot be shown: " in text_of(describe_report(written))
    assert page.all("img")


def test_the_first_run_that_is_not_the_baseline_is_reported(reported_runs: ReportedRuns) -> None:
    runs = reported_runs
    facts = facts_of(runs.none, runs.slca, baseline=runs.none)
    assert facts.run.folder == runs.slca
    assert facts.baseline is not None
    assert facts.baseline.folder == runs.none
    difference = facts.row(facts.run, "auc").difference
    assert difference is not None
    assert facts.row(facts.baseline, "auc").difference is None
    alone = facts_of(runs.none, baseline=runs.none)
    assert (alone.run.folder, alone.baseline) == (runs.none, None)


def test_a_store_of_other_features_is_refused(reported_runs: ReportedRuns, tmp_path: Path) -> None:
    run = copied(reported_runs.none, tmp_path / "run", fingerprint="0" * 64)
    with pytest.raises(ConfigError, match="other features"):
        facts_of(run, store=str(reported_runs.store))
    assert "other features" in facts_of(run).no_store


def test_runs_of_several_encoders_are_titled_by_their_features(
    reported_runs: ReportedRuns, tmp_path: Path
) -> None:
    identity = json.loads((reported_runs.none / "config.json").read_text())["identity"]
    other = {**identity, "image_size": identity["image_size"] * 2}
    run = copied(reported_runs.none, tmp_path / "other", fingerprint="0" * 64, identity=other)
    write_report((reported_runs.slca, run), None, None, tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text()).text
    size = identity["image_size"]
    for title in (f"vit_tiny, {size} px: timm", f"vit_tiny, {2 * size} px: timm"):
        assert title in page[page.index("Beside other runs") :]


@pytest.mark.parametrize("lacks", ["kept_epoch", "leaks"])
def test_a_run_that_lacks_what_a_page_says_is_refused(
    reported_runs: ReportedRuns, tmp_path: Path, lacks: str
) -> None:
    run = copied(reported_runs.none, tmp_path / "run")
    text = (run / "results.json").read_text().replace(f'"{lacks}":', '"another":')
    write_results(run, json.loads(text))
    with pytest.raises(
        ConfigError, match=f"cannot be read as a run .no '{lacks}'.: train it again"
    ):
        facts_of(run)


def test_a_folder_without_a_run_is_not_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no finished run"):
        write_report((tmp_path,), None, None, tmp_path / "report.html")


def test_the_shown_command_trains_the_same(reported_runs: ReportedRuns, tmp_path: Path) -> None:
    config = TrainConfig(
        "s3://team/a b.zarr", tmp_path / "out", taps=("late:stage3", "neck:stage4"), seeds=(4, 5),
        augment=False, task=TaskOptions(ordered=True), fractions=(0.5, 1.0), mixup=0.2,
        device="cpu", image_size=48,
    )  # fmt: skip
    identity = {"levels": ["patch", "late", "neck"]}
    plain = {**json.loads(json.dumps(config.to_json())), "identity": identity}
    plain["taps"] = {"late": "stage3", "neck": "stage4"}  # as config.json has them
    assert read_config(plain) == replace(config, device="auto"), "the device is the reader's own"
    for run in (reported_runs.slca, reported_runs.none):
        assert read_config(json.loads((run / "config.json").read_text())).taps is None


def test_the_shown_commands_are_commands(reported_runs: ReportedRuns, tmp_path: Path) -> None:
    moved = [
        shutil.copytree(run, tmp_path / run.name)
        for run in (reported_runs.slca, reported_runs.none)
    ]
    facts = facts_of(*moved)
    lines = [shlex.split(line) for line in make_commands(facts, tmp_path / "report.html")]
    assert [words[1] for words in lines] == ["extract", "train", "train", "report"]
    outs = [words[words.index("--out") + 1] for words in lines[1:3]]
    assert lines[3][2:4] == outs
    assert lines[3][lines[3].index("--baseline") + 1] == outs[1]
    for words in lines[1:]:
        command = cli.commands[words[1]]
        assert isinstance(command, click.Command)
        command.make_context(words[1], words[2:])
