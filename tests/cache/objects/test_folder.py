"""Files of a store: on the disk before a write is done, and read whole however it is cut up."""

import os
from pathlib import Path

import pytest

from samcache.cache.errors import StoreError
from samcache.cache.objects.folder import FolderObjects


@pytest.mark.parametrize("write", ["create", "put"])
def test_a_written_file_and_its_folder_are_flushed_to_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda handle: flushed.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
    )
    objects = FolderObjects(tmp_path / "s")
    getattr(objects, write)("a/b", b"data")
    assert flushed == [str(tmp_path / "s/a/b"), str(tmp_path / "s/a")]


def test_a_read_that_the_system_cuts_short_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = FolderObjects(tmp_path / "s")
    objects.create("key", b"0123456789")
    read = os.preadv
    monkeypatch.setattr(os, "preadv", lambda handle, parts, at: read(handle, parts[:1], at))
    buffers = [bytearray(4), bytearray(6)]
    objects.read_into("key", [*map(memoryview, buffers)])
    assert b"".join(buffers) == b"0123456789"


def test_an_object_that_vanishes_as_it_is_created_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process made it and removes it, such as a claim that it releases."""
    objects = FolderObjects(tmp_path / "s")
    objects.create("key", b"theirs")
    size = objects.find_size

    def remove_first(key: str) -> int | None:
        objects.delete([key])
        return size(key)

    monkeypatch.setattr(objects, "find_size", remove_first)
    assert objects.create("key", b"ours")
    assert objects.get("key") == b"ours"
    monkeypatch.setattr(objects, "find_size", lambda _: None)
    with pytest.raises(StoreError, match="another process repeatedly creates and removes it"):
        objects.create("key", b"ours")
