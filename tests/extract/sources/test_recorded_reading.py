"""How a source was read is recorded with its store, and later commands follow it or refuse."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import h5py
import numpy as np
import pytest
from cines import folder_of_cines, write_cine
from rich.console import Console
from tiny_extraction import Extract

from samcache.cache.care.merge import merge_stores
from samcache.cache.errors import SourceError, StoreError
from samcache.cache.format.description import ROOT
from samcache.cache.format.pixel_options import MIXED, PixelOptions
from samcache.cache.format.records import seal, unseal
from samcache.cache.store import Store
from samcache.extract.changes import Changes
from samcache.extract.repair import RepairOptions, repair
from samcache.extract.sources.options import SourceOptions

QUIET = Console(file=StringIO())


def forget_reading(store: Store) -> Store:
    """A store as it was before readings were recorded."""
    root = Path(store.location) / ROOT
    record = unseal(root.read_bytes())
    del record["provenance"]["reading"]
    root.write_bytes(seal(record))
    return Store(store.location)


@pytest.fixture
def cines(tmp_path: Path) -> Path:
    return folder_of_cines(tmp_path / "cines")


@pytest.mark.parametrize("frames", ["first", "middle", "all"])
def test_frames_are_recorded_and_followed(cines: Path, run_extract: Extract, frames: str) -> None:
    reading = SourceOptions(frames=frames)  # type: ignore[arg-type]
    made, _ = run_extract(source=cines, reading=reading)
    assert PixelOptions.from_record(made.provenance) == PixelOptions(frames=frames)
    before = len(made.table)
    write_cine(cines / "dark" / "new.dcm", 99, bright=False)
    grown, summary = run_extract(source=cines)
    assert summary.encoded == len(grown.table) - before > 0
    assert summary.changes == Changes(added=summary.changes.added)
    assert grown.fingerprint == made.fingerprint


@pytest.mark.parametrize(("recorded", "asked"), [(None, "all"), ("middle", "first")])
def test_other_frames_are_refused(
    cines: Path, run_extract: Extract, recorded: str | None, asked: str
) -> None:
    run_extract(source=cines, reading=SourceOptions(frames=recorded))  # type: ignore[arg-type]
    with pytest.raises(StoreError, match=f"was read with frames {recorded or 'first'}, this run"):
        run_extract(source=cines, reading=SourceOptions(frames=asked))  # type: ignore[arg-type]


def test_frames_join_a_store_of_single_images_as_its_record_says(
    npz: Path, tmp_path: Path, run_extract: Extract
) -> None:
    """A root record is written once: frames that it cannot tell of are refused."""
    folder = folder_of_cines(tmp_path / "one", 8)
    for path in folder.rglob("*.dcm"):
        write_cine(path.with_name("i" + path.name), int(path.stem), bright=False, frames=1)
        path.unlink()
    run_extract(source=folder)
    write_cine(folder / "dark" / "cine.dcm", 50, bright=False)
    with pytest.raises(StoreError, match="was read with frames first"):
        run_extract(source=folder, reading=SourceOptions(frames="middle"))
    made, _ = run_extract("array", source=npz)
    assert made.provenance["reading"] == {}


def test_stores_that_record_nothing_take_any_frames(cines: Path, run_extract: Extract) -> None:
    made, _ = run_extract(source=cines, reading=SourceOptions(frames="middle"))
    forget_reading(made)
    _, summary = run_extract(source=cines, reading=SourceOptions(frames="middle"))
    assert (summary.encoded, summary.changes) == (0, Changes())
    with pytest.raises(StoreError, match="no sample of the source"):
        run_extract(source=cines)


def test_the_array_of_an_hdf5_file_is_recorded_and_followed(
    tmp_path: Path, run_extract: Extract
) -> None:
    images = np.random.default_rng(0).integers(0, 255, (20, 8, 8), np.uint8)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["raw"], file["x"], file["y"] = images, 255 - images, np.arange(20) % 2
    run_extract(source=path, reading=SourceOptions(images_key="raw"))
    _, summary = run_extract(source=path)
    assert (summary.encoded, summary.changes) == (0, Changes())
    with pytest.raises(StoreError, match="image array raw, this run reads with image array x"):
        run_extract(source=path, reading=SourceOptions(images_key="x"))


def test_repair_reads_as_the_store_was_read(
    cines: Path, run_extract: Extract, checkpoint: Path
) -> None:
    made, _ = run_extract(source=cines, reading=SourceOptions(frames="middle"))
    shard = Path(made.location) / made.arrays["features/neck"].make_key(0)
    shard.write_bytes(b"x" * shard.stat().st_size)
    options = RepairOptions(made.location, cines, checkpoint)
    with pytest.raises(StoreError, match="was read with frames middle"):
        repair(replace(options, reading=SourceOptions(frames="all")))
    assert repair(options).left == []


def test_a_merged_store_tells_what_its_parts_agree_on(
    cines: Path, tmp_path: Path, run_extract: Extract, npz: Path
) -> None:
    middle, _ = run_extract("middle", source=cines, reading=SourceOptions(frames="middle"))
    first, _ = run_extract("first", source=cines)
    single, _ = run_extract("single", source=npz)
    same = merge_stores([middle, single], tmp_path / "same.zarr", True)
    assert PixelOptions.from_record(same.provenance) == PixelOptions(frames="middle")
    mixed = merge_stores([middle, first], tmp_path / "mixed.zarr", True)
    assert PixelOptions.from_record(mixed.provenance) == PixelOptions(frames=MIXED)
    with pytest.raises(SourceError, match="read with different frames: give the right"):
        run_extract("mixed", source=cines)


@pytest.mark.parametrize("odd", [None, [], "middle", {"frames": 7, "images_key": ["x"]}])
def test_odd_records_say_nothing(odd: object) -> None:
    assert (PixelOptions.from_record({"reading": odd}) or PixelOptions()) == PixelOptions()
    assert json.dumps(PixelOptions(frames="all").to_json()) == '{"frames": "all"}'
