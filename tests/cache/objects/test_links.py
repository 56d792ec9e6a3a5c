"""Whatever link stands inside a store, no command writes or removes anything outside the store."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from pathlib import Path

import pytest
from copies import tree
from rich.console import Console
from tiny_extraction import write_npz

from samcache.cache.care.copy import copy_store
from samcache.cache.care.gc import collect, find_garbage
from samcache.cache.care.hdf5.store import export_store, import_store
from samcache.cache.care.merge import merge_stores
from samcache.cache.errors import StoreError
from samcache.cache.format.commit_record import make_commit_key
from samcache.cache.objects.folder import FolderObjects
from samcache.cache.store import Store
from samcache.extract.options import ExtractOptions
from samcache.extract.repair import RepairOptions, repair
from samcache.extract.run import extract

QUIET = Console(file=StringIO())
OBJECT = "features/late/c/1/0/0/0/0"

LINKED = ["claims", "claims/00000001.0000", "commits", "commits/00000001"]
LINKED += ["features", "features/late/c", "images", "samples", OBJECT]
LINKED += ["commits/00000001/zarr.json", "zarr.json"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """A folder with sources, a whole store of the first and its HDF5 file."""
    folder = tmp_path_factory.mktemp("links")
    write_npz(folder / "grown.npz", (32, 8, 8))
    npz = write_npz(folder / "toy.npz")
    extract(_options(npz, folder / "whole.zarr", checkpoint))
    merge_stores([Store(folder / "whole.zarr")], folder / "merged.zarr", False)
    export_store(Store(folder / "whole.zarr"), folder / "whole.h5")
    return folder


def _options(source: Path, store: Path, checkpoint: Path) -> ExtractOptions:
    size = {"pool": 2, "batch_size": 8, "shard_rows": 8}
    return ExtractOptions(source, store, "vit_tiny", checkpoint, precision="float32", **size)  # type: ignore[arg-type]


Command = Callable[[Path, Path, Path], object]  # of the folder above, a store and a checkpoint

COMMANDS: dict[str, Command] = {
    "extract": lambda place, store, weights: extract(_options(place / "toy.npz", store, weights)),
    "extract more": lambda place, store, weights: extract(
        _options(place / "grown.npz", store, weights)
    ),
    "repair": lambda place, store, weights: repair(
        RepairOptions(store, place / "toy.npz", weights)
    ),
    "copy": lambda place, store, _: copy_store(Store(place / "whole.zarr"), store),
    "import": lambda place, store, _: import_store(place / "whole.h5", store),
    "merge": lambda place, store, _: merge_stores([Store(place / "whole.zarr")], store, False),
    "gc": lambda _, store, __: collect(Store(store), find_garbage(Store(store))),
}


@pytest.mark.parametrize("target", ["what it was", "nothing"])
@pytest.mark.parametrize("linked", LINKED)
@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_outside_a_store_is_changed(
    place: Path, tmp_path: Path, checkpoint: Path, command: str, linked: str, target: str
) -> None:
    """The second shard is not committed, and all that its writer needs may be a link."""
    store, outside = tmp_path / "s.zarr", tmp_path / "outside"
    shutil.copytree(place / ("merged.zarr" if command == "merge" else "whole.zarr"), store)
    (store / make_commit_key(1)).unlink()
    (store / OBJECT).write_bytes(b"left half written")
    link_to(store / linked, outside, target)
    before = tree(outside)
    folders = sorted(outside.rglob("*"))
    with suppress(StoreError):  # one line, or the command has no need of what is linked
        COMMANDS[command](place, store, checkpoint)
    assert tree(outside) == before
    assert sorted(outside.rglob("*")) == folders


def link_to(path: Path, outside: Path, target: str) -> None:
    """Make a path a link to what stood there (or a folder like it), or to nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (outside / "empty").mkdir(parents=True)
    there = outside / "target"
    if target == "what it was":
        if path.exists():
            path.rename(there)
        else:
            for name in ("zarr.json", "00000001.0000/zarr.json", "table.0000/zarr.json"):
                (there / name).parent.mkdir(parents=True, exist_ok=True)
                (there / name).write_text("not samcache's")
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.symlink_to(there)


def test_a_refused_link_is_named_with_what_to_do(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "whole.zarr", tmp_path / "s.zarr")
    link_to(tmp_path / "s.zarr" / "commits", tmp_path / "outside", "nothing")
    with pytest.raises(StoreError, match=r"/commits is a symbolic link: .*; replace the link"):
        copy_store(Store(place / "whole.zarr"), tmp_path / "s.zarr")


def test_a_store_whose_root_is_a_link_is_written(place: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "s.zarr").symlink_to(tmp_path / "disk")
    copy_store(Store(place / "whole.zarr"), tmp_path / "s.zarr")
    assert tree(tmp_path / "disk").keys() == tree(place / "whole.zarr").keys()


def test_objects_behind_links_are_read(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "whole.zarr", tmp_path / "s.zarr")
    link_to(tmp_path / "s.zarr" / "features", tmp_path / "outside", "what it was")
    whole = Store(place / "whole.zarr")
    linked = Store(tmp_path / "s.zarr")
    assert (linked.read("features/late", 0, 40) == whole.read("features/late", 0, 40)).all()


@pytest.mark.parametrize("key", ["", "/etc/passwd", "a/../../b", "..", ".", "a//b", "a/", "a\0b"])
def test_a_key_that_leads_out_of_the_folder_is_refused(tmp_path: Path, key: str) -> None:
    (tmp_path / "b").write_text("outside")
    objects = FolderObjects(tmp_path / "s")
    for access in (
        lambda: objects.get(key),
        lambda: objects.find_size(key),
        lambda: objects.read_into(key, []),
        lambda: objects.read_parts_into(key, []),
        lambda: objects.put(key, b"x"),
        lambda: objects.create(key, b"x"),
        lambda: objects.delete([key]),
    ):
        with pytest.raises(StoreError, match="not an object name"):
            access()
    assert (tmp_path / "b").read_text() == "outside"
