"""HDF5 as a source: PatchCamelyon's pairs of files, and one file with images and labels."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from pcam import pcam

from samcache.cache.errors import SourceError
from samcache.extract.sources.open import open_source
from samcache.extract.sources.options import SourceOptions

RNG = np.random.default_rng(0)
READING = SourceOptions()


@pytest.mark.parametrize("named", ["", "camelyonpatch_level_2_split_valid_x.h5"])
def test_patchcamelyons_files_are_one_source(tmp_path: Path, named: str) -> None:
    images = pcam(tmp_path)
    source = open_source(tmp_path / named, READING)
    assert source.name == "camelyonpatch_level_2_split"
    assert source.split_origin == "source"
    assert source.samples["split"].value_counts().to_dict() == {"train": 12, "test": 6, "val": 4}
    assert source.classes == ("0", "1")
    row = source.samples.index[source.samples["id"] == "val/0000003"][0]
    np.testing.assert_array_equal(source.read_image(row).decode(), images["valid"][3])
    assert source.samples["label"][row] == 1
    assert source.limit(4).read_image(0).sha256 == source.read_image(0).sha256


def test_one_file_with_named_arrays_gets_drawn_splits(tmp_path: Path) -> None:
    grey = RNG.integers(0, 256, (40, 16, 16), dtype=np.uint8)
    with h5py.File(tmp_path / "scans.hdf5", "w") as file:
        file["data/images"], file["grade"] = grey, np.repeat([2, 10], 20)
    reading = SourceOptions(images_key="data/images", labels_key="grade", split_seed=3)
    source = open_source(tmp_path / "scans.hdf5", reading)
    assert source.classes == ("2", "10")
    assert source.split_origin == "drawn: 70/10/20 %, stratified, seed 3"
    np.testing.assert_array_equal(np.asarray(source.read_image(5).decode())[..., 1], grey[5])
    assert source.samples["id"][5] == "0000005"


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"x": np.zeros((4, 8, 8), np.uint8)}, "should hold an array 'y', found x"),
        ({"x": np.zeros((4, 8, 8)), "y": np.zeros(4, int)}, "should be uint8"),
        ({"x": np.zeros((4, 8, 8), np.uint8), "y": np.zeros(3, int)}, "labels should be 4"),
        ({"x": np.zeros((4, 8, 8), np.uint8), "y": np.zeros((4, 2), int)}, "labels should be 4"),
        ({"x": np.zeros((4, 8, 8), np.uint8), "y": np.zeros(4)}, "should be integers"),
    ],
)
def test_other_layouts_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], reason: str
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, values in arrays.items():
            file[name] = values
    with pytest.raises(SourceError, match=reason):
        open_source(tmp_path / "a.h5", READING)


def test_arrays_that_stand_elsewhere_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(range(64)))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["y"] = np.zeros(1, int)
        kept = [(str(tmp_path / "secret"), 0, 64)]
        file.create_dataset("x", (1, 8, 8), "u1", external=kept)
        file["z"] = h5py.ExternalLink(str(tmp_path / "b.h5"), "x")
    with pytest.raises(SourceError, match="is stored in other files"):
        open_source(tmp_path / "a.h5", READING)
    with pytest.raises(SourceError, match="should hold an array 'z'"):
        open_source(tmp_path / "a.h5", SourceOptions(images_key="z"))
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(SourceError, match="not an HDF5 file"):
        open_source(tmp_path / "text.h5", READING)
