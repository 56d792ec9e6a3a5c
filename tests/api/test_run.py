"""A loaded run predicts what ``samcache predict`` writes."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from trained_run import Trained, samcache

from samcache import SamcacheError, load_run
from samcache import open as open_store


def written(trained: Trained, *inputs: Path) -> pd.DataFrame:
    """What the command writes."""
    result = samcache("predict", trained.run, *inputs, "--checkpoint", trained.checkpoint)
    assert result.exit_code in (0, 3), result.output
    return pd.read_csv(io.StringIO(result.stdout))


def test_predictions_are_those_of_the_command(trained: Trained, tmp_path: Path) -> None:
    paths = sorted(trained.images.rglob("test/*/*.png"))
    (tmp_path / "empty.png").touch()
    expected = written(trained, *paths, tmp_path / "empty.png")
    run = load_run(trained.run, trained.checkpoint, "cpu")
    assert (run.classes, run.members) == (("benign", "malign"), ("seed-0", "seed-1"))
    by_path = run.predict([*paths, tmp_path / "empty.png"])
    pd.testing.assert_frame_equal(by_path, expected, check_dtype=False, check_exact=True)
    readable = expected.iloc[:-1].drop(columns=["id", "reason"])
    for images in (
        [Image.open(path) for path in paths],
        [np.asarray(Image.open(path)) for path in paths],
    ):
        found = run.predict(images)
        assert found["id"].tolist() == [str(place) for place in range(len(paths))]
        pd.testing.assert_frame_equal(
            found.drop(columns=["id", "reason"]), readable, check_dtype=False, check_exact=True
        )
    one = run.predict(Image.open(paths[3]))
    assert one["p_malign"].tolist() == [readable["p_malign"].iloc[3]]


def test_a_store_is_predicted_by_its_path_and_opened(trained: Trained) -> None:
    expected, run = written(trained, trained.store), load_run(trained.run)
    for store in (trained.store, open_store(trained.store)):
        found = run.predict(store)
        pd.testing.assert_frame_equal(found, expected, check_dtype=False, check_exact=True)
    assert len(run.predict(trained.store, split="val")) == 8


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((8, 8)), r"found float64 \(8, 8\)"),
        (np.zeros((8, 8, 4), np.uint8), r"found uint8 \(8, 8, 4\)"),
        (["a.png", 3], "found str"),
    ],
)
def test_other_images_are_refused_in_one_line(
    trained: Trained, images: object, message: str
) -> None:
    with pytest.raises(SamcacheError, match=message) as caught:
        load_run(trained.run, trained.checkpoint).predict(images)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
