"""The comparison of encoders: its page, its commands, and that test images choose no probe."""

from pathlib import Path

import numpy as np
import pandas as pd
import probe_stores
import pytest
from compared_encoders import ENCODERS, METRICS, TRAINED, Cell, list_cells
from encoder_page import COLUMNS, PAGE, make_page
from experiment import Dataset
from extract_stores import make_words
from probe_stores import probe_store, read_probed
from tiny_encoder import save_tiny_checkpoint
from tiny_extraction import write_npz
from write_tables import score_probes

from samcache.cache.store import Store
from samcache.cli import cli
from samcache.extract.options import ExtractOptions
from samcache.extract.run import extract
from samcache.train.config import make_command
from samcache.train.data.joined_store import JoinedStore
from samcache.train.probes.stores import probe_stores as probe_each

RESULTS = Path(__file__).parents[1] / "encoders" / "results"
TOY = Dataset("toy", "Toy", "toy.npz", 32)
FIRST, SECOND = (Cell(TOY, encoder) for encoder in ENCODERS[:2])


def test_the_page_is_that_of_the_committed_results() -> None:
    assert PAGE.read_text("utf-8") == make_page(RESULTS)


def test_a_page_without_results_says_so(tmp_path: Path) -> None:
    text = make_page(tmp_path)

    assert "not run" in text
    assert "{{" not in text
    assert "ahead by" not in text


@pytest.mark.parametrize(
    ("intervals", "sentence"),
    [
        ([(0.01, 0.03)], "1 comparison in AUC: ahead by probe on BreastMNIST."),
        (
            [(0.01, 0.03), (-0.01, 0.03), (-0.3, -0.1)],
            "3 comparisons in AUC: ahead by probe on BreastMNIST; behind by probe on ISIC 2017; "
            "undecided in the other 1.",
        ),
        ([(-0.01, 0.03), (-0.01, 0.0)], "2 comparisons in AUC: undecided in all 2."),
    ],
)
def test_a_verdict_follows_from_the_interval(
    intervals: list[tuple[float, float]], sentence: str, tmp_path: Path
) -> None:
    names = ("breastmnist", "retinamnist", "isic2017")
    rows = [
        (name, "sam2_t", "probe", "auc", "vit_t", (low + high) / 2, low, high, 0.5)
        for name, (low, high) in zip(names, intervals, strict=False)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS["differences"]))
    table.to_csv(tmp_path / "differences.csv", index=False)

    text = make_page(tmp_path)
    assert f"**SAM 2 tiny** against MobileSAM, {sentence}" in text
    assert ("No encoder is shown to be better" in text) == ("ahead" not in sentence)


def test_every_command_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMCACHE_DATA", str(tmp_path))
    checkpoint = tmp_path / "weights.pt"
    checkpoint.touch()
    for cell in list_cells():
        source = tmp_path / cell.dataset.source
        source.parent.mkdir(exist_ok=True)
        source.touch()
        name, *rest = make_words(cell, checkpoint)
        given = cli.commands[name].make_context(name, rest).params
        assert (given["encoder"], given["image_size"]) == (cell.encoder.name, cell.image_size)
    for cell in list_cells(among=TRAINED):
        cli.commands["train"].make_context("train", make_command(cell.training)[2:])


def test_only_the_named_cells_are_listed() -> None:
    named = [(cell.dataset.name, cell.encoder.short) for cell in list_cells(("vit_t", "isic2017"))]
    assert named == [("isic2017", "vit_t")]
    assert len(list_cells(("sam2_t",))) * len(ENCODERS) == len(list_cells())


def probed_below(work: Path, cell: Cell, seed: int, scrambled: bool = False) -> Path:
    """Extract the toy's images, those of test scrambled if asked, and probe them."""
    source = write_npz(work / "toy.npz")
    arrays = dict(np.load(source))
    rng = np.random.default_rng(1)
    for split in ("train", "val", "test"):  # hard to tell apart, so that scores differ
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"][:, :, None]
        images += rng.integers(0, 75, labels.shape, dtype=np.uint8) - 40 * labels
    if scrambled:
        arrays["test_labels"] = 1 - arrays["test_labels"]
    np.savez(source, **arrays)
    checkpoint = save_tiny_checkpoint(work / "tiny.pth", seed)
    (work / "stores").mkdir(exist_ok=True)
    extract(ExtractOptions(source, work / cell.store, "vit_tiny", checkpoint, pool=2))
    probe_store(cell, work)
    return work / cell.probed


def test_test_images_choose_no_probe(tmp_path: Path) -> None:
    for name in ("as they are", "scrambled"):
        (tmp_path / name).mkdir()
    plain = read_probed(probed_below(tmp_path / "as they are", FIRST, 0))
    other = read_probed(probed_below(tmp_path / "scrambled", FIRST, 0, scrambled=True))

    assert other.how == plain.how
    assert other.tested["auc"][0] != plain.tested["auc"][0], "these images would not tell"


def test_scores_and_differences_are_those_of_samcache_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_stores, "choose_probe", lambda *_: ("all", "kNN", 0.5))
    for seed, cell in enumerate((FIRST, SECOND)):
        probed_below(tmp_path, cell, seed)
    stores = [Store(tmp_path / cell.store) for cell in (FIRST, SECOND)]
    told = {
        (one.store, one.scores.level, one.scores.probe): one
        for one in probe_each(JoinedStore(["first", "second"], stores)).scores
    }

    found = list(score_probes([FIRST, SECOND], tmp_path))

    assert [(cell, metric) for cell, metric, *_ in found] == [
        (cell, metric) for cell in (FIRST, SECOND) for metric in METRICS
    ]
    for cell, metric, summary, difference in found:
        name = "first" if cell == FIRST else "second"
        own = told[name, "all", "kNN"]
        assert summary.mean == own.scores.test[metric].value
        assert summary.interval is not None
        assert difference == own.differences.get(metric)
