"""A run folder is one training's at a time, and a finished run stays until it is replaced."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from quick_training import quick, run
from tiny_extraction import Extract
from trained_run import Trained, copied, one_line, samcache

from samcache.cache.errors import ConfigError
from samcache.cache.store import Store
from samcache.train.fit.checkpoint import Checkpoints
from samcache.train.runs.folder import is_run_folder, lock_folder, open_run_folder

ONE = {"seeds": (0,), "epochs": 1, "attention": "none", "backbone": "timm:test_resnet"}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_finished_run_stands_until_another_takes_its_place(store: Store, tmp_path: Path) -> None:
    run(quick(store, tmp_path / "run", **{**ONE, "seeds": (0, 1)}))
    before = content(tmp_path / "run")
    with pytest.raises(ConfigError, match="diverged"):
        run(quick(store, tmp_path / "run", **{**ONE, "lr": 1e30}, overwrite=True))
    assert content(tmp_path / "run") == before
    exports = {"ensemble.pt2", "ensemble.pt2.json", "seed-0.onnx", "ensemble-with-encoder.pt2"}
    for name in exports:
        (tmp_path / "run" / name).write_text("of the former run")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    run(quick(store, tmp_path / "run", **ONE, overwrite=True))
    after = content(tmp_path / "run")
    assert after["results.json"] != before["results.json"]
    assert before.keys() - after.keys() == {"seed-1.safetensors"}
    assert not exports & after.keys()
    assert after["notes.txt"] == b"mine"


def test_a_folder_of_others_is_not_taken_for_a_runs(store: Store, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "seed-words.safetensors").write_text("mine")
    with pytest.raises(ConfigError, match="holds other files"):
        run(quick(store, tmp_path, **ONE))
    assert (tmp_path / "seed-words.safetensors").read_text() == "mine"


def test_a_second_training_in_the_same_folder_is_refused(store: Store, tmp_path: Path) -> None:
    open_run_folder(tmp_path / "run", overwrite=False)
    with (
        lock_folder(tmp_path / "run"),
        pytest.raises(ConfigError, match="another command is writing to"),
    ):
        run(quick(store, tmp_path / "run", **ONE))
    run(quick(store, tmp_path / "run", **ONE))
    assert is_run_folder(tmp_path / "run")


def test_results_are_whole_or_not_there(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full between the two would leave half of them, which looks finished."""
    whole = json.dumps

    def half(value: object, **how: object) -> str:
        if isinstance(value, dict) and "members" in value:
            raise OSError(28, "No space left on device")
        return whole(value, **how)  # type: ignore[arg-type]

    monkeypatch.setattr("samcache.train.runs.folder.json.dumps", half)
    with pytest.raises(OSError, match="No space left"):
        run(quick(store, tmp_path / "run", **ONE))
    assert not (tmp_path / "run" / "results.json").exists()
    monkeypatch.undo()
    results = run(quick(store, tmp_path / "run", **ONE))
    assert len(results.members) == 1
    modes = {p.stat().st_mode for p in (tmp_path / "run").iterdir()}
    assert len(modes) == 1, "who may read the results may read the weights"


def test_nothing_is_written_over_the_files_of_a_run(trained: Trained, tmp_path: Path) -> None:
    folder = copied(trained.run, tmp_path / "run")
    before = content(folder)
    for words in (
        ("evaluate", folder, trained.store, "--out", folder),
        ("predict", folder, trained.store, "--out", folder / "predictions.csv"),
        ("export", folder, "--out", folder / "seed-0.safetensors"),
    ):
        result = samcache(*words)
        assert result.exit_code == 1
        assert "another" in one_line(result)
    assert content(folder) == before


@pytest.mark.parametrize("damage", ["flip", "other", "list"])
def test_a_damaged_checkpoint_is_told_and_not_continued_from(tmp_path: Path, damage: str) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", {"lr": 1}, overwrite=False)
    checkpoints.save("seed-0", {"weights": torch.arange(4096.0)})
    path = tmp_path / "checkpoints" / "seed-0.pt"
    if damage == "flip":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))
    elif damage == "list":
        torch.save([1, 2], path)
    told = pytest.raises(ConfigError, match=r"seed-0.pt cannot be read: remove it")
    if damage != "other":
        with told:
            checkpoints.load("seed-0")
        return
    state = checkpoints.load("seed-0")
    assert state is not None
    with told, checkpoints.reading("seed-0"):
        state["epochs"]


def test_a_damaged_description_of_an_unfinished_run_keeps_its_checkpoints(tmp_path: Path) -> None:
    Checkpoints(tmp_path / "checkpoints", {"lr": 1}, overwrite=False).save("seed-0", {"epochs": []})
    for text in ("[broken", "[]"):
        (tmp_path / "checkpoints" / "run.json").write_text(text)
        with pytest.raises(ConfigError, match=r"run.json is damaged: remove"):
            Checkpoints(tmp_path / "checkpoints", {"lr": 1}, overwrite=False)
        assert (tmp_path / "checkpoints" / "seed-0.pt").exists()


def test_a_store_without_images_is_told_before_a_folder_is_made(
    run_extract: Extract, tmp_path: Path
) -> None:
    bare, _ = run_extract("bare", frame_size=0)
    with pytest.raises(ConfigError, match="was extracted without images"):
        run(quick(bare, tmp_path / "run", **ONE, image_size=None))
    assert not (tmp_path / "run").exists()


def test_seeds_in_any_order_have_one_interval(store: Store, tmp_path: Path) -> None:
    found = [
        run(quick(store, tmp_path / str(place), **{**ONE, "seeds": seeds})).fractions[0].metrics
        for place, seeds in enumerate([(0, 1, 2), (2, 0, 1)])
    ]
    assert found[0] == found[1]


def test_a_report_of_another_data_sets_store_is_refused(trained: Trained, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(trained.images, images)
    table = pd.read_csv(trained.run / "seen.csv")
    (images / table["id"][0]).unlink()
    other = trained.extract(tmp_path / "other.zarr", images)
    result = samcache("report", trained.run, "--store", other, "--out", tmp_path / "r.html")
    assert result.exit_code == 1
    assert "lacks images that" in one_line(result)


@pytest.mark.parametrize(
    "name", ["checkpoints", "tensorboard", "metrics.csv", "config.json", "checkpoints/seed-0.new"]
)
@pytest.mark.parametrize("target", ["folder", "thesis.txt", "nothing"])
def test_nothing_behind_a_link_in_a_run_folder_is_changed(
    tmp_path: Path, name: str, target: str
) -> None:
    folder, outside = tmp_path / "run", tmp_path / "outside"
    (folder / "checkpoints").mkdir(parents=True)
    (outside / "folder").mkdir(parents=True)
    (outside / "thesis.txt").write_text("not samcache's")
    if name == "checkpoints":
        (folder / "checkpoints").rmdir()
        (folder / "config.json").write_text('{"fingerprint": "", "identity": {}}')
    (folder / name).symlink_to(outside / target)
    with pytest.raises(ConfigError, match=f"{name} is a symbolic link: .*; remove the link"):
        open_run_folder(folder, overwrite=True)
    assert (outside / "thesis.txt").read_text() == "not samcache's"
    assert not (outside / "nothing").exists()


def test_a_run_folder_may_itself_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    open_run_folder(tmp_path / "run", overwrite=False)
