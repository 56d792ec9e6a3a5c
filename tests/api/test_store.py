"""An open store: what it shows, and arrays that are read when they are indexed."""

from pathlib import Path

import numpy as np
import pytest
from store_content import content, create, full_store

import samcache
from samcache.cache.commit import commit_shard
from samcache.cache.store import Store as StoredFeatures


@pytest.fixture
def features(tmp_path: Path) -> StoredFeatures:
    return full_store(tmp_path / "s.zarr")


def test_a_store_shows_what_it_holds(features: StoredFeatures) -> None:
    store = samcache.open(features.location)
    assert repr(store).splitlines() == [
        f"Store({features.location!r}): 10 images, 2 classes, encoder vit_b",
        "  patch   4 x 6 x 6 float16",
        "  neck    3 x 2 x 2 float16",
        "  images  8 x 8 x 3 uint8",
        "  splits  test 4, train 6",
        "  size    6.6 kB",
    ]
    assert (len(store), store.image_size, store.views) == (10, 8, ("identity",))
    assert list(store.samples) == [
        "id",
        "label",
        "split",
        "group",
        "row",
        "status",
        "reason",
        "sha256",
    ]


@pytest.mark.parametrize(
    "index",
    [
        *(3, -1, slice(2, 9, 3), [7, 0, 7], np.arange(10) % 2 == 0, np.array([[1, 2], [3, 4]])),
        *((5, 1), (slice(4), slice(1, None), 0), (..., -1), ([9, 2], slice(None), 1), slice(0)),
    ],
    ids=str,
)
def test_indexing_gives_what_numpy_gives(features: StoredFeatures, index: object) -> None:
    store = samcache.open(features.location)
    whole = features.read_features("neck", 0, 10)[:, 0]
    np.testing.assert_array_equal(store.arrays("neck")[index], whole[index])
    images = features.read_images(0, 10)
    np.testing.assert_array_equal(store.arrays("images")[index], images[index])


def test_an_array_has_numpys_attributes_and_converts(features: StoredFeatures) -> None:
    array = samcache.open(features.location).arrays("neck")
    assert (array.shape, array.ndim, array.dtype, len(array)) == ((10, 3, 2, 2), 4, "float16", 10)
    np.testing.assert_array_equal(np.asarray(array, "float32"), array[:].astype("float32"))
    with pytest.raises(IndexError, match="only the first axis"):
        array[0, [1, 2]]
    with pytest.raises(IndexError, match="10 is out of bounds"):
        array[10]


def test_a_sample_without_features_is_an_error_that_names_it(tmp_path: Path) -> None:
    features = create(tmp_path / "s.zarr")
    commit_shard(features, 0, content(features, 0, failures={2: "the file is empty"}))
    array = samcache.open(tmp_path / "s.zarr").arrays("neck")
    assert array[[0, 1, 3]].shape == (3, 3, 2, 2)
    with pytest.raises(samcache.SamcacheError, match=r"image 2 é has no .*unreadable: the file"):
        array[:4]
    with pytest.raises(samcache.SamcacheError, match=r"image 4 é has no features \(missing\)"):
        array[4]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.arrays("nek"), "no level 'nek': it has patch, neck, images"),
        (lambda s: s.arrays("neck", "rot90"), "no view 'rot90': it has identity"),
        (lambda s: s.dataset("tset"), "no split 'tset': it has test, train"),
        (lambda s: s.dataset("test", ["late"]), "no level 'late': it has patch, neck, images"),
        (lambda s: s.dataset("test", views=["flip_h"]), "no view 'flip_h': it has identity"),
    ],
)
def test_a_key_error_names_what_exists(features: StoredFeatures, call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(KeyError) as caught:
        call(samcache.open(features.location))
    assert str(caught.value) == f"the store has {message}"
    assert isinstance(caught.value, samcache.SamcacheError)
