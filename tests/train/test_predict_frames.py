"""A run predicts from the frames that it was trained on, or refuses."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cines import folder_of_cines
from trained_run import Trained, copied, one_line, samcache

from samcache.extract.sources.options import SourceOptions

P = ["p_dark", "p_light"]


@dataclass(frozen=True)
class OfFrames:
    """Runs from stores of the same cines, whose frames were chosen differently."""

    of: dict[str, Trained]
    cines: Path

    def predict(self, frames: str, *words: object) -> pd.DataFrame:
        trained = self.of[frames]
        result = samcache("predict", trained.run, *words, "--checkpoint", trained.checkpoint)
        assert result.exit_code == 0, result.output
        return pd.read_csv(io.StringIO(result.stdout), index_col="id")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> OfFrames:
    folder = tmp_path_factory.mktemp("frames")
    cines, of = folder_of_cines(folder / "cines"), {}
    for frames in ("middle", "all"):
        one = Trained(cines, folder / f"{frames}.zarr", checkpoint, folder / frames)
        one.extract(one.store, reading=SourceOptions(frames=frames))  # type: ignore[arg-type]
        one.train(one.run)
        of[frames] = one
    return OfFrames(of, cines)


@pytest.mark.parametrize("frames", ["middle", "all"])
def test_files_give_the_rows_and_the_predictions_of_the_store(
    runs: OfFrames, frames: str, tmp_path: Path
) -> None:
    cached = runs.predict(frames, runs.of[frames].store)
    live = runs.predict(frames, runs.cines)
    assert np.ptp(cached["p_light"]) > 0.001, "all images look the same: nothing is shown"
    assert list(live.index) == list(cached.index)
    np.testing.assert_allclose(live[P], cached[P], atol=1e-3)
    manifest = tmp_path / "list.csv"
    manifest.write_text("file\ndark/00.dcm\nlight/01.dcm\n")
    listed = runs.predict(frames, manifest, "--root", runs.cines)
    np.testing.assert_allclose(listed[P], cached.loc[listed.index, P], atol=1e-3)
    single = runs.predict(frames, runs.cines / "light/01.dcm")
    names = [name.removeprefix(f"{runs.cines}/") for name in single.index]
    assert names == [name for name in listed.index if name.startswith("light")]
    np.testing.assert_allclose(single[P], cached.loc[names, P], atol=1e-3)


def test_other_frames_are_refused(runs: OfFrames) -> None:
    middle, every = runs.of["middle"], runs.of["all"]
    told = one_line(samcache("predict", middle.run, runs.cines, "--frames", "first"))
    assert "was trained on images read with frames middle, found frames first" in told
    for command in ("evaluate", "predict"):
        told = one_line(samcache(command, middle.run, every.store))
        assert "holds all frames of its files" in told
        assert "was trained on middle" in told


def test_runs_that_record_nothing_read_as_they_are_asked_to(runs: OfFrames, tmp_path: Path) -> None:
    config = json.loads((runs.of["middle"].run / "config.json").read_text())
    assert config["reading"] == {"frames": "middle"}
    trained = runs.of["middle"]
    of_before = copied(trained.run, tmp_path / "run", reading=None)
    words = ["predict", of_before, runs.cines / "light/01.dcm", "--checkpoint", trained.checkpoint]
    first, chosen = samcache(*words).stdout, samcache(*words, "--frames", "middle").stdout
    assert "01.dcm," in first
    assert "01.dcm#2," in chosen


def test_what_is_dropped_or_blank_is_told_beside_the_rows(trained: Trained, runs: OfFrames) -> None:
    """A run of single images takes the first frame, which is black."""
    words = ["predict", trained.run, runs.cines, "--checkpoint", trained.checkpoint]
    told = samcache(*words)
    assert len(told.stdout.splitlines()) == 21
    assert "20 files have several frames or pages: the first is used" in told.stderr
    assert "20 images are a single colour (first: dark/00.dcm, dark/02.dcm" in told.stderr
    found = json.loads(samcache(*words, "--json").stdout)
    assert len(found["predictions"]) == 20
    assert found["noted"]["several"]["count"] == 20
    assert found["noted"]["single_colour"]["first"][0] == "dark/00.dcm"
    assert "single colour" not in samcache("predict", trained.run, trained.store).stderr
