"""A run folder whose files an attacker wrote is read, or refused in one line, without any delay."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hostile import FILES, VALUES, places, read_or_refuse, replaced
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trained_run import Trained, one_line, samcache, write_results

from samcache.cache.files.digest import hash_file
from samcache.train.fit.checkpoint import Checkpoints
from samcache.train.report import words
from samcache.train.report.checks.result import check_run
from samcache.train.report.facts import read_facts
from samcache.train.report.reproduction import make_commands
from samcache.train.runs.ensemble import load_ensemble, open_predictor
from samcache.train.runs.folder import is_run_folder
from samcache.train.runs.run import open_run

CONFIG, RESULTS = "config.json", "results.json"
TABLES = ("predictions.csv", "metrics.csv", "seen.csv")


def read_report(run: Path) -> None:
    """All of a report but its figures."""
    facts = read_facts((run,), None, None)
    check_run(facts)
    words.write_verdict(facts)
    words.write_model_card(facts)
    make_commands(facts, run)


def read_seen(run: Path) -> set[str]:
    return open_run(run).seen


def read_all(run: Path) -> list[str]:
    readers: tuple[Callable[[Path], object], ...] = (read_report, open_predictor, read_seen)
    return [read_or_refuse(lambda read=read: read(run)) for read in readers]  # type: ignore[misc]


def write_json(run: Path, name: str, value: Any) -> None:
    """Write a file of a run with the checksums that the others have."""
    (run / name).write_text(json.dumps(value))
    results = json.loads((run / RESULTS).read_text())
    if isinstance(results, dict) and isinstance(results.get("files"), dict):
        files = {path.name: hash_file(path) for path in run.iterdir() if path.name != RESULTS}
        write_results(run, {**results, "files": files})


def copied(trained: Trained, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(trained.run, folder, copy_function=_link_weights))


def _link_weights(source: str, target: str) -> None:
    if source.endswith(".safetensors"):
        Path(target).hardlink_to(source)
    else:
        shutil.copy(source, target)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    name=st.sampled_from((CONFIG, RESULTS)),
    where=st.floats(0, 0.999),
    value=st.sampled_from([*VALUES]),
)
def test_any_value_in_any_place_of_a_record_is_read_or_refused(
    trained: Trained, tmp_path: Path, name: str, where: float, value: str
) -> None:
    run = copied(trained, tmp_path / "run")
    record = json.loads((run / name).read_text())
    all_places = list(places(record))
    place = all_places[int(where * len(all_places))]
    write_json(run, name, replaced(record, place, VALUES[value]))
    read_all(run)


@pytest.mark.parametrize("how", FILES)
@pytest.mark.parametrize("name", [CONFIG, RESULTS, *TABLES, "seed-0.safetensors"])
def test_anything_in_place_of_a_file_is_refused_at_once(
    trained: Trained, tmp_path: Path, name: str, how: str
) -> None:
    run = copied(trained, tmp_path / "run")
    results = json.loads((run / RESULTS).read_text())
    del results["files"]
    write_results(run, results)
    (run / name).unlink()
    FILES[how](run / name)
    is_run_folder(run)
    if name == "seed-0.safetensors":
        assert read_or_refuse(lambda: load_ensemble(open_predictor(run), member="seed-0"))
    else:
        assert any(read_all(run))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (CONFIG, {"inputs": {"patch": [1 << 20, 1, 1]}}, "inputs: expected at most 32768 channels"),
        (CONFIG, {"inputs": {"patch": [1, 1 << 15, 1 << 15]}}, "expected at most 268435456 values"),
        (CONFIG, {"image_size": 1 << 20}, "image_size: expected int <= 4096"),
        (CONFIG, {"classes": ["a", "a"]}, "classes: expected each name once"),
        (CONFIG, {"ordered": 1}, "ordered: expected bool, got int"),
        (CONFIG, {"attention": "more"}, "attention: invalid enum value 'more'"),
        (RESULTS, {"fractions": []}, "fractions: expected array of length >= 1"),
        (RESULTS, {"members": []}, "members: expected those of the greatest fraction"),
        (
            RESULTS,
            {"leaks": [{"ids": ["a", "b"], "splits": ["train", "test"], "labels": [0, 7]}]},
            "leaks: expected an id, a split and a label of each image",
        ),
    ],
)
def test_records_that_agree_on_what_cannot_be_are_refused(
    trained: Trained, tmp_path: Path, name: str, changes: dict[str, Any], message: str
) -> None:
    run = copied(trained, tmp_path / "run")
    write_json(run, name, {**json.loads((run / name).read_text()), **changes})
    assert any(message in said for said in read_all(run))


@pytest.mark.parametrize(
    ("name", "column", "value", "message"),
    [
        ("predictions.csv", "p_benign", "nan", "'p_benign' that holds more than numbers"),
        ("predictions.csv", "p_benign", 1e300, "probabilities that are not between 0 and 1"),
        ("predictions.csv", "p_benign", "x", "'p_benign' that holds more than numbers"),
        ("predictions.csv", "seed", 2**70, "'seed' that holds more than numbers"),
        ("predictions.csv", "seed", 7.5, "'seed' that holds more than numbers"),
        ("predictions.csv", "seed", 7, "the same test samples for every seed"),
        ("predictions.csv", "label", "other", "labels that are none of the run's classes"),
        ("predictions.csv", "fold", "other", "folds that are not numbers"),
        ("metrics.csv", "epoch", "x", "'epoch' that holds more than numbers"),
    ],
)
def test_tables_that_cannot_be_are_refused(
    trained: Trained, tmp_path: Path, name: str, column: str, value: Any, message: str
) -> None:
    run = copied(trained, tmp_path / "run")
    table = pd.read_csv(run / name, keep_default_na=False).astype({column: object})
    tested = table.index[table["split"] == "test"] if "split" in table else table.index
    table.loc[tested[-1], column] = value
    table.to_csv(run / name, index=False)
    write_json(run, CONFIG, json.loads((run / CONFIG).read_text()))
    assert any(message in said for said in read_all(run))


@pytest.mark.parametrize("how", FILES)
def test_checkpoints_that_are_no_checkpoints_are_refused(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "run" / "checkpoints"
    Checkpoints(folder, {"lr": 1}, overwrite=False)
    FILES[how](folder / "seed-0.pt")
    assert read_or_refuse(lambda: Checkpoints(folder, {"lr": 1}, overwrite=False).load("seed-0"))
    (folder / "run.json").unlink()
    FILES[how](folder / "run.json")
    assert read_or_refuse(lambda: Checkpoints(folder, {"lr": 1}, overwrite=False))


def test_the_commands_end_in_one_line(trained: Trained, tmp_path: Path) -> None:
    run = copied(trained, tmp_path / "run")
    (run / "predictions.csv").unlink()
    FILES["a named pipe"](run / "predictions.csv")
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    (sweep / "sweep.lock").touch()
    FILES["a named pipe"](sweep / "sweep.processes")
    for command in (
        ("compare", run),
        ("report", run, "--out", tmp_path / "page.html"),
        ("sweep", trained.store, "--out", sweep),
    ):
        assert "is a named pipe, not a regular file" in one_line(samcache(*command))
