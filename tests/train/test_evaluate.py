"""An external test set is scored as the run's own was, whatever the order of its classes."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from trained_run import Trained, copied, draw_images, one_line, samcache

from samcache.cache.store import Store
from samcache.extract.sources.options import SourceOptions


def renamed(trained: Trained, folder: Path, names: dict[str, str]) -> Path:
    """A store of the same files under a manifest with other class names."""
    files = sorted(path for path in trained.images.rglob("*.png"))
    lines = [
        f"{path.relative_to(trained.images)},{names[path.parent.name]},{path.parts[-3]}"
        for path in files
    ]
    manifest = folder / "list.csv"
    manifest.write_text("\n".join(["file,class,split", *lines]) + "\n")
    reading = SourceOptions(root=trained.images)
    return trained.extract(folder / "other.zarr", manifest, reading=reading)


def test_on_its_own_store_the_metrics_are_those_of_the_run(
    trained: Trained, tmp_path: Path
) -> None:
    result = samcache("evaluate", trained.run, trained.store, "--out", tmp_path / "e", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found == json.loads((tmp_path / "e" / "evaluation.json").read_text())
    (own,) = json.loads((trained.run / "results.json").read_text())["fractions"]
    assert found["metrics"].keys() == own["metrics"].keys()
    for name, summary in own["metrics"].items():
        assert found["metrics"][name]["mean"] == pytest.approx(summary["mean"], abs=1e-6)
        assert found["metrics"][name]["interval"] == pytest.approx(summary["interval"], abs=1e-6)
    assert (found["samples"], found["known"], found["left_out"]) == (12, 0, 0)
    table = pd.read_csv(tmp_path / "e" / "predictions.csv")
    right = (table["label"] == table["predicted"]).mean()
    assert found["ensemble"]["accuracy"]["mean"] == pytest.approx(right)


def test_classes_are_matched_by_name(trained: Trained, tmp_path: Path) -> None:
    swapped = renamed(trained, tmp_path, {"benign": "malign", "malign": "benign"})
    assert Store(swapped).dataset.classes == ("benign", "malign")
    evaluated = [
        json.loads(samcache("evaluate", trained.run, store, "--json").stdout)["metrics"]["auc"]
        for store in (trained.store, swapped)
    ]
    assert evaluated[0]["mean"] == pytest.approx(1 - evaluated[1]["mean"])


def test_labels_follow_the_names_in_a_run_with_another_order(
    trained: Trained, tmp_path: Path
) -> None:
    run = copied(trained.run, tmp_path / "run", classes=["malign", "benign"])
    found = json.loads(samcache("evaluate", run, trained.store, "--json").stdout)
    own = json.loads(samcache("evaluate", trained.run, trained.store, "--json").stdout)
    mirrored = 1 - own["metrics"]["accuracy"]["mean"]  # the same outputs under exchanged names
    assert found["metrics"]["accuracy"]["mean"] == pytest.approx(mirrored)


def test_an_unknown_class_is_refused_by_its_name(trained: Trained, tmp_path: Path) -> None:
    other = renamed(trained, tmp_path, {"benign": "benign", "malign": "malignant"})
    line = one_line(samcache("evaluate", trained.run, other))
    assert "has the class 'malignant'" in line
    assert "benign, malign" in line


def test_a_class_without_samples_is_refused_by_its_name(trained: Trained, tmp_path: Path) -> None:
    one = renamed(trained, tmp_path, {"benign": "benign", "malign": "benign"})
    line = one_line(samcache("evaluate", trained.run, one))
    assert "no readable sample of class 'malign'" in line


def test_samples_that_the_run_has_seen_are_counted_and_told(
    trained: Trained, tmp_path: Path
) -> None:
    result = samcache("evaluate", trained.run, trained.store, "--split", "all")
    assert "44 samples, 2 members" in result.stdout
    assert "the run used 32 of these samples in training or validation" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    draw_images(tmp_path / "others", seed=4)
    shutil.copy(trained.images / "train/malign/malign02.png", tmp_path / "others/test/malign/x.png")
    others = trained.extract(tmp_path / "others.zarr", tmp_path / "others")
    told = samcache("evaluate", trained.run, others).stdout
    assert "used 1 of these samples" in told


def test_unreadable_images_are_left_out_and_counted(trained: Trained, tmp_path: Path) -> None:
    draw_images(tmp_path / "others", seed=4)
    (tmp_path / "others/test/benign/benign03.png").write_bytes(b"no image")
    others = trained.extract(tmp_path / "others.zarr", tmp_path / "others")
    told = samcache("evaluate", trained.run, others).stdout
    assert "11 samples" in told
    assert "warning" not in told
    assert "1 image is left out, without features" in told


def test_what_cannot_be_is_told_before_anything_is_predicted(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("samcache.train.evaluate.load_ensemble", None)
    (tmp_path / "file").write_text("")
    words = ["evaluate", trained.run, trained.store]
    line = one_line(samcache(*words, "--out", tmp_path / "file" / "out"))
    assert "file/out cannot be written (Not a directory): give another folder" in line
    run = copied(trained.run, tmp_path / "run")
    (run / "seen.csv").unlink()
    line = one_line(samcache("evaluate", run, trained.store))
    assert re.search(r"cannot be read as a run \(.*seen.csv'\): train it again", line)
