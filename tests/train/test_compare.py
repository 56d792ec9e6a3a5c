"""Runs are compared on the same test samples, seed by seed; others are refused in one line."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from shown import text_of

from samcache.cache.errors import ConfigError
from samcache.commands.show.comparison import describe_comparison
from samcache.commands.show.trainings import list_each_and_ensemble
from samcache.train.compare import compare
from samcache.train.runs import run as run_files
from samcache.train.scores.format import format_interval, format_p
from samcache.train.scores.intervals import Interval, Summary


def write_run(
    folder: Path,
    skill: float,
    seeds: tuple[int, ...] = (0, 1, 2),
    count: int = 200,
    fractions: tuple[float, ...] = (1.0,),
    patients: int = 0,
    noise: int = 0,
    **config: object,
) -> Path:
    """A run whose probabilities lean to the right class by ``skill``; others' noise is shared."""
    folder.mkdir(parents=True)
    labels = np.arange(count) % 2
    tables = []
    for fraction in fractions:
        for seed in seeds:
            rng = np.random.default_rng([noise, seed])
            p = 1 / (1 + np.exp(-(skill * (2 * labels - 1) + rng.normal(size=count))))
            table = pd.DataFrame({"seed": seed, "fold": "", "fraction": fraction}, range(count))
            table["id"] = [f"i{row:04}" for row in range(count)]
            table["split"] = "test"
            table["group"] = [f"p{row % patients}" if patients else "" for row in range(count)]
            table["label"] = np.where(labels == 1, "b", "a")
            tables.append(table.assign(p_a=1 - p, p_b=p))
    pd.concat(tables).sample(frac=1, random_state=1).to_csv(folder / "predictions.csv", index=False)
    options = {"fingerprint": "f", "classes": ["a", "b"], "ordered": False, "folds": None, **config}
    (folder / "config.json").write_text(json.dumps(options))
    results = {
        "fractions": [{"fraction": fraction, "test_samples": count} for fraction in fractions],
        "members": [{"seed": seed, "fraction": share} for share in fractions for seed in seeds],
    }
    (folder / "results.json").write_text(json.dumps(results))
    return folder


def test_a_better_run_is_told_from_an_equal_one(tmp_path: Path) -> None:
    plain = write_run(tmp_path / "plain", 0.5)
    better = write_run(tmp_path / "better", 1.2)
    equal = write_run(tmp_path / "equal", 0.5, noise=1)
    rows = {row.run: row for row in compare((better, equal), plain, ("auc",)).rows}
    assert list(rows) == [str(plain), str(better), str(equal)]
    assert rows[str(plain)].difference is None
    gain, tie = rows[str(better)].difference, rows[str(equal)].difference
    assert gain is not None
    assert tie is not None
    assert gain.interval is not None
    assert tie.interval is not None
    assert gain.interval.low > 0
    assert gain.p is not None
    assert gain.p < 0.05
    assert tie.interval.low < 0 < tie.interval.high
    assert tie.p is not None
    assert tie.p > 0.05
    expected = rows[str(better)].summary.mean - rows[str(plain)].summary.mean
    assert gain.mean == pytest.approx(expected)


def test_a_p_that_rounds_to_zero_is_told_as_less() -> None:
    assert [format_p(p) for p in (None, 0.0, 0.0009, 0.0313, 1.0)] == [
        *("-", "<0.001", "<0.001", "0.031", "1.000"),
    ]


def test_pairing_narrows_the_interval_of_a_difference(tmp_path: Path) -> None:
    plain = write_run(tmp_path / "plain", 0.5, seeds=(0,))
    paired = write_run(tmp_path / "paired", 0.6, seeds=(0,))
    other = write_run(tmp_path / "other", 0.6, seeds=(0,), noise=1)
    widths = []
    for row in compare((plain, paired, other), None, ("auc",)).rows[1:]:
        assert row.difference is not None
        assert row.difference.interval is not None
        widths.append(row.difference.interval.high - row.difference.interval.low)
    assert widths[0] < widths[1] / 2


def test_a_lucky_seed_makes_a_wide_interval(tmp_path: Path) -> None:
    plain, run = write_run(tmp_path / "plain", 0.5), write_run(tmp_path / "run", 0.5)
    table = pd.read_csv(run / "predictions.csv", keep_default_na=False)
    lucky = table["seed"] == 0
    table.loc[lucky, "p_b"] = (table["label"] == "b")[lucky] * 1.0
    table["p_a"] = 1 - table["p_b"]
    table.to_csv(run / "predictions.csv", index=False)
    (_, row) = compare((plain, run), None, ("auc",)).rows
    assert row.difference is not None
    assert row.difference.mean > 0.05
    assert row.difference.interval is not None
    assert row.difference.interval.low <= 0  # two of three seeds gained nothing


def test_patients_are_drawn_whole(tmp_path: Path) -> None:
    widths = []
    for patients in (0, 12):
        folder = write_run(tmp_path / str(patients), 0.5, patients=patients)
        (row,) = compare((folder,), None, ("accuracy",)).rows
        assert row.summary.interval is not None
        widths.append(row.summary.interval.high - row.summary.interval.low)
    assert widths[0] != widths[1]


def test_text_csv_and_markdown_say_the_same(tmp_path: Path) -> None:
    runs = (write_run(tmp_path / "a", 0.5), write_run(tmp_path / "b", 0.7))
    rows = compare(runs, None, ("auc", "auc:b")).rows
    table = list(csv.DictReader(io.StringIO(text_of(describe_comparison(rows, "csv")))))
    assert len(table) == 4
    assert table[0]["difference"] == ""
    text, markdown = (
        text_of(describe_comparison(rows, "text")),
        text_of(describe_comparison(rows, "markdown")),
    )
    assert text.splitlines()[0].split()[:2] == ["run", "metric"]
    assert "baseline" in text
    assert markdown.splitlines()[1] == "| --- | --- | --- | --- | --- | --- |"
    for line in table:
        for shown in (text, markdown):
            assert f"{float(line['mean']):.3f} ± {float(line['sd']):.3f}" in shown
            assert f"{float(line['low']):.3f}-{float(line['high']):.3f}" in shown
    assert f"{float(table[1]['difference']):+.3f}" in text


IDENTITY = {
    "encoder": "vit_t", "weights": "6dbb9052", "preprocessing": "sam", "image_size": 128,
    "frame_size": 128, "levels": ["patch", "neck"], "pool": 4, "dtype": "float16",
    "precision": "float32", "window": "auto", "views": ["identity"], "format": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "titles"),
    [
        ({"image_size": 256}, ["vit_t, 128 px", "vit_t, 256 px"]),
        ({"encoder": "vit_b"}, ["vit_t, 128 px", "vit_b, 128 px"]),
        ({"levels": ["neck"]}, ["vit_t, 128 px, patch neck", "vit_t, 128 px, neck"]),
        (
            {"weights": "0123456789"},
            ["vit_t, 128 px, weights 6dbb9052", "vit_t, 128 px, weights 01234567"],
        ),
    ],
)
def test_runs_of_several_encoders_are_titled_by_their_features(
    tmp_path: Path, changes: dict[str, object], titles: list[str]
) -> None:
    samples = dict.fromkeys(("train", "val", "test"), "same")
    first = write_run(tmp_path / "a", 0.5, identity=IDENTITY, samples=samples)
    other = {"fingerprint": "g", "identity": IDENTITY | changes, "samples": samples}
    rows = compare((first, write_run(tmp_path / "b", 0.7, **other)), None, ("auc",)).rows  # type: ignore[arg-type]
    assert [row.features for row in rows] == titles
    head, *lines = text_of(describe_comparison(rows, "text")).splitlines()[:3]
    assert head.split()[:2] == ["features", "run"]
    assert [line.split("  ")[0] for line in lines] == titles
    table = list(csv.DictReader(io.StringIO(text_of(describe_comparison(rows, "csv")))))
    assert [line["features"] for line in table] == titles
    markdown = text_of(describe_comparison(rows, "markdown")).splitlines()
    assert [line.split(" | ")[0][2:] for line in markdown[2:]] == titles
    alone = compare((first,), None, ("auc",)).rows
    assert "features" not in text_of(describe_comparison(alone, "csv"))


def test_an_interval_that_reaches_below_zero_has_no_dash_for_to() -> None:
    assert format_interval(Interval(0.841, 0.944, 2000)) == "0.841-0.944"
    assert format_interval(Interval(-0.13, 0.101, 2000)) == "-0.130 to 0.101"
    below = Summary(-0.01, 0.05, Interval(-0.13, 0.101, 2000))
    above = Summary(0.9, 0.05, Interval(0.841, 0.944, 2000))
    each = {"kappa": below, "auc": above}
    parts = list_each_and_ensemble(each, {"kappa": above, "auc": below}, "seed")
    head, *lines = text_of(parts).splitlines()[:3]
    assert lines[0].index("0.900") == lines[1].index("-0.010") == head.index("ensemble")


def test_fractions_are_compared_one_by_one(tmp_path: Path) -> None:
    fractions = (0.1, 1.0)
    runs = [write_run(tmp_path / name, 0.5, fractions=fractions) for name in ("a", "b")]
    rows = compare(tuple(runs), None, ("auc",)).rows
    assert [(row.fraction, row.difference is None) for row in rows] == [
        (0.1, True), (0.1, False), (1.0, True), (1.0, False),
    ]  # fmt: skip
    assert text_of(describe_comparison(rows, "text")).splitlines()[0].split()[1] == "fraction"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fingerprint": "other"}, "from stores of other features"),
        ({"seeds": (0, 1)}, "other seeds: train both with the same"),
        ({"count": 198}, "other test samples"),
        ({"fractions": (0.5,)}, "other fractions"),
        ({"classes": ["b", "a"]}, "other classes"),
        ({"folds": 5}, "other folds"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    first = write_run(tmp_path / "first", 0.5)
    second = write_run(tmp_path / "second", 0.5, **change)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=message):
        compare((first, second), None, ("auc",))


def test_what_is_no_run_or_no_metric_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 0.5)
    with pytest.raises(ConfigError, match="holds no finished run"):
        compare((run, tmp_path), None, ("auc",))
    with pytest.raises(ConfigError, match=r"no metric 'recall': .* has accuracy, "):
        compare((run,), None, ("recall",))
    (run / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="cannot be read as a run"):
        compare((run,), None, ("auc",))


@pytest.mark.parametrize("column", ["p_b", "split"])
def test_predictions_without_a_column_are_refused(tmp_path: Path, column: str) -> None:
    run = write_run(tmp_path / "run", 0.5)
    table = pd.read_csv(run / "predictions.csv", keep_default_na=False)
    table.drop(columns=column).to_csv(run / "predictions.csv", index=False)
    with pytest.raises(ConfigError, match=f"predictions.csv has no column '{column}'.: train it"):
        compare((run,), None, ("auc",))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", b"[]", "{}: expected a JSON object"),
        ("config.json", b"{}", "no 'classes'"),
        ("config.json", b'{"classes": 3}', "{}: classes: expected array, got int"),
        ("config.json", b"\xff\xfe\x00", "{}: it is not UTF-8 text"),
        ("results.json", b"[]", "{}: expected a JSON object"),
        ("results.json", b"", "{}: it is not JSON at line 1"),
    ],
)
def test_a_run_without_its_options_or_results_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    run = write_run(tmp_path / "run", 0.5)
    (run / name).write_bytes(content)
    told = message.format(name)
    with pytest.raises(ConfigError, match=f"cannot be read as a run .*{told}.*: train it again"):
        compare((run,), None, ("auc",))


def test_a_run_that_may_not_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run", 0.5)

    def refuse(path: Path, largest: int) -> bytes:  # noqa: ARG001
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(run_files, "read_regular", refuse)
    with pytest.raises(ConfigError, match=r"config.json cannot be read \(Permission denied\)"):
        compare((run,), None, ("auc",))
