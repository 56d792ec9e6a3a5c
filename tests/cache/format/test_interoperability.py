"""Other Zarr libraries read what we write: zarr-python, tensorstore, and zarrita over HTTP."""

import json
import os
import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from store_content import content, create, full_store, samples

from samcache.cache.commit import commit_shard
from samcache.cache.create import add_generation
from samcache.cache.format.samples import COLUMNS, SAMPLES
from samcache.cache.store import Store

PACKAGES = ("zarrita@0.7.5", "@petamoriken/float16@3.9.3")
SCRIPT = Path(__file__).with_name("read_with_zarrita.mjs")


def scarred_store(path: Path) -> Store:
    """A failed row, holes, a shard without a commit, and a second table that skips rows."""
    store = create(path)
    commit_shard(store, 0, content(store, 0, failures={1: "cannot be decoded"}, holes=(3,)))
    commit_shard(store, 2, content(store, 2))
    grown = add_generation(store, samples(12).assign(row=[*range(10), 12, 13]))
    commit_shard(grown, 3, content(grown, 3))
    return Store(path)


@pytest.fixture(params=[full_store, scarred_store])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    opened: Store = request.param(tmp_path / "toy.zarr")
    return opened


def columns_of(store: Store) -> dict[str, Any]:
    """Column path -> what every reader should find there."""
    prefix = f"{SAMPLES}/{store.generation.number:08d}"
    return {f"{prefix}/{column}": store.table[column].tolist() for column in COLUMNS}


def ours(store: Store, path: str) -> np.ndarray[Any, Any]:
    return store.read(path, 0, store.layout.rows)


def test_rows_without_data_read_as_zeros(tmp_path: Path) -> None:
    store = scarred_store(tmp_path / "toy.zarr")

    for path in store.arrays:
        rows = ours(store, path).reshape(store.layout.rows, -1)
        assert np.flatnonzero(rows.any(axis=1)).tolist() == [0, 2, 8, 9, 12, 13]


def test_zarr_python_reads_equal_values(store: Store) -> None:
    with zarr.config.set({"codec_pipeline.path": BATCHED}):
        group = zarr.open_group(store.location, mode="r")
        for path in store.arrays:
            array = group[path]
            np.testing.assert_array_equal(array[:], ours(store, path))
            assert array.dtype == ours(store, path).dtype
            assert array.metadata.dimension_names[0] == "sample"
        for path, values in columns_of(store).items():
            assert group[path][:].tolist() == values


BATCHED = "zarr.core.codec_pipeline.BatchedCodecPipeline"


def test_zarrs_reads_equal_values(store: Store) -> None:
    pytest.importorskip("zarrs", reason="zarrs is not installed")
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        group = zarr.open_group(store.location, mode="r")
        for path in store.arrays:
            np.testing.assert_array_equal(group[path][:], ours(store, path))


def test_zarr_python_lists_everything_without_a_warning(store: Store) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        group = zarr.open_group(store.location, mode="r")
        members = dict(group.members(max_depth=None))
        tree = str(group.tree()) if has_rich() else ""

    newest = f"{SAMPLES}/{store.generation.number:08d}"
    assert {"commits/00000000", "claims", newest, *store.arrays} <= set(members)
    assert members["commits/00000000"].attrs["samcache"]["shard"] == 0
    assert "features" in tree or not has_rich()


def has_rich() -> bool:
    """zarr-python draws trees with rich."""
    try:
        import rich  # noqa: F401
    except ImportError:
        return False
    return True


def test_a_part_is_read_by_zarr_python_without_the_rest(store: Store) -> None:
    """The index at a shard's end leads to each row."""
    array = zarr.open_array(store.location, path="images", mode="r")

    for row in (0, 2, 8, 9):
        np.testing.assert_array_equal(array[row], store.read_images(row, row + 1)[0])


def test_tensorstore_reads_equal_numbers(store: Store) -> None:
    tensorstore = pytest.importorskip("tensorstore", reason="tensorstore is not installed")
    numbers = [path for path in columns_of(store) if path.endswith("label")]

    for path in [*store.arrays, *numbers]:  # text it has no type for, as of 0.1.86
        place = {"driver": "file", "path": f"{store.location}/{path}/"}
        array = tensorstore.open({"driver": "zarr3", "kvstore": place}, read=True).result()
        expected = ours(store, path) if path in store.arrays else columns_of(store)[path]
        np.testing.assert_array_equal(array.read().result(), expected)
        assert array.domain.labels[0] == "sample"


@pytest.fixture(scope="session")
def zarrita(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script beside an installed zarrita, in the folder SAMCACHE_ZARRITA if that is set."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed: zarrita cannot be tried")
    kept = os.environ.get("SAMCACHE_ZARRITA")
    folder = Path(kept).resolve() if kept else tmp_path_factory.mktemp("zarrita")
    if not (folder / "node_modules" / "zarrita").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}')
        options = ["--no-fund", "--no-audit", "--ignore-scripts", "--save-exact"]
        command = ["npm", "install", *options, *PACKAGES]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode != 0:
            pytest.skip("npm could not install zarrita: no registry within reach")
    return Path(shutil.copy(SCRIPT, folder))


def test_zarrita_reads_equal_values_over_http(
    store: Store, zarrita: Path, nginx: Callable[[Path], str]
) -> None:
    place = Path(store.location)
    expected = {path: ours(store, path) for path in store.arrays} | columns_of(store)
    command = ["node", str(zarrita), f"{nginx(place.parent)}/{place.name}", *expected]

    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    for path, values in expected.items():
        assert found[path]["shape"] == list(np.shape(values))
        if isinstance(values, list):
            assert found[path]["values"] == values
        else:
            assert found[path]["dtype"] == values.dtype.name
            given = np.array(found[path]["values"], values.dtype).reshape(values.shape)
            np.testing.assert_array_equal(given, values)
