"""Each view is the encoder's own output for the turned image, and is kept, mended and moved so."""

from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_extraction import Extract

from samcache.cache.care.hdf5.store import export_store, import_store
from samcache.cache.care.merge import merge_stores
from samcache.cache.care.verify import verify
from samcache.cache.errors import StoreError
from samcache.cache.format.layout import EXTENTS
from samcache.cache.format.views import VIEW_SETS, VIEWS, turn_pixels
from samcache.cache.store import Store
from samcache.cli import cli
from samcache.extract.encoders.load import load_encoder
from samcache.extract.encoders.registry import LEVELS, find_architecture
from samcache.extract.images.preprocess import normalise, to_frame
from samcache.extract.repair import RepairOptions, repair

SIZES = [(30, 50), (50, 30), (50, 50), (7, 50)]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four asymmetric images, most of them not square; rows 0 to 3 of a store."""
    rng = np.random.default_rng(3)
    for number, (height, width) in enumerate(SIZES):
        path = tmp_path / "images" / "xy"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    return tmp_path / "images"


def pixels_of(pictures: Path, store: Store) -> list[np.ndarray]:
    return [np.array(Image.open(pictures / name)) for name in store.table["id"]]


def test_the_names_mean_what_numpy_means_by_them() -> None:
    image = np.arange(2 * 3 * 3).reshape(2, 3, 3)
    expected = {
        "identity": image,
        "flip_h": np.fliplr(image),
        "flip_v": np.flipud(image),
        "rot180": np.rot90(image, 2),
        "rot90": np.rot90(image, 1),
        "rot270": np.rot90(image, 3),
        "transpose": image.swapaxes(0, 1),
        "transverse": np.rot90(image, 2).swapaxes(0, 1),
    }
    assert set(expected) == set(VIEWS)
    for view, pixels in expected.items():
        np.testing.assert_array_equal(turn_pixels(image, view), pixels, err_msg=view)
    assert len({turn_pixels(image, view).tobytes() for view in VIEWS}) == 8


def test_a_stored_view_is_the_encoders_output_for_the_turned_image(
    run_extract: Extract, pictures: Path, checkpoint: Path, threads: Callable[[int], None]
) -> None:
    """Bit for bit, padding below and to the right in each view."""
    threads(1)  # as a lane has
    store, _ = run_extract(
        source=pictures, views="dihedral", pool=1, dtype="float32", batch_size=1, frame_size=50
    )
    assert store.identity.views == VIEW_SETS["dihedral"]
    encoder = load_encoder(find_architecture("vit_tiny"), checkpoint, LEVELS)
    for row, pixels in enumerate(pixels_of(pictures, store)):
        cached, extent = store.read_images(row, row + 1)[0], store.read(EXTENTS, row, row + 1)[0]
        assert tuple(extent) == pixels.shape[:2]
        for place, view in enumerate(store.identity.views):
            frame, size = to_frame(Image.fromarray(turn_pixels(pixels, view)), 64)
            with torch.inference_mode():
                maps = encoder.model(normalise(torch.from_numpy(np.stack([frame])), [size], "sam"))
            for level in LEVELS:
                found = store.read_features(level, row, row + 1)[0, place]
                np.testing.assert_array_equal(found, maps[level][0].numpy(), err_msg=view)
            expected = to_frame(Image.fromarray(turn_pixels(pixels, view)), 50)[0]
            image = turn_pixels(cached[: extent[0], : extent[1]], view)
            height, width = image.shape[:2]
            np.testing.assert_array_equal(image, expected[:height, :width])
            assert not expected[height:].any()
            assert not expected[:, width:].any()


def test_the_first_view_and_the_statistics_are_those_of_a_store_without_views(
    run_extract: Extract, pictures: Path
) -> None:
    plain, _ = run_extract("plain", source=pictures)
    flips, _ = run_extract("flips", source=pictures, views="flips")
    assert flips.arrays["features/neck"].row[0] == 4
    for level in LEVELS:
        np.testing.assert_array_equal(
            flips.read_features(level, 0, 4)[:, :1], plain.read_features(level, 0, 4)
        )
    np.testing.assert_array_equal(flips.read("statistics", 0, 4), plain.read("statistics", 0, 4))
    assert EXTENTS not in plain.arrays
    assert (
        EXTENTS not in run_extract("bare", source=pictures, views="flips", frame_size=0)[0].arrays
    )
    with pytest.raises(StoreError, match="views is identity in the store, identity,flip_h,flip_v"):
        run_extract("plain", source=pictures, views="flips")


def test_views_are_mended_merged_moved_and_reused(
    run_extract: Extract, pictures: Path, checkpoint: Path, tmp_path: Path
) -> None:
    store, _ = run_extract(source=pictures, views="flips")
    whole = {path: store.read(path, 0, 4) for path in store.arrays}

    def same(other: Store) -> bool:
        return all(np.array_equal(other.read(path, 0, 4), whole[path]) for path in whole)

    for key in ("features/late/c/0/0/0/0/0", "extents/c/0/0"):
        path = Path(store.location, key)
        data = bytearray(path.read_bytes())
        data[1] ^= 1
        path.write_bytes(data)
    assert len(verify(Store(store.location))) == 2
    mended = repair(RepairOptions(store.location, pictures, checkpoint, batch_size=3))
    assert (mended.left, verify(Store(store.location))) == ([], [])
    assert same(Store(store.location))
    assert same(merge_stores([Store(store.location)], tmp_path / "merged.zarr", False))
    export_store(Store(store.location), tmp_path / "s.h5")
    assert same(import_store(tmp_path / "s.h5", tmp_path / "imported.zarr"))
    reused, _ = run_extract("again", source=pictures, views="flips", reuse=(store.location,))
    assert same(reused)


def test_choices_are_the_sets_of_views() -> None:
    option = next(p for p in cli.commands["extract"].params if p.name == "views")
    assert isinstance(option.type, click.Choice)
    assert list(option.type.choices) == list(VIEW_SETS)
