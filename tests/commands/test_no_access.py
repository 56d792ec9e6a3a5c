"""Whatever the system refuses ends in one line: the path, the reason in words, what to do."""

import errno
import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest
from no_access import lock
from trained_run import Trained, one_line, samcache


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "RUN", "STORE"],
        ["evaluate", "RUN", "STORE"],
        ["export", "RUN", "--store", "STORE", "--out", "made.pt2"],
        ["report", "RUN", "--store", "STORE", "--out", "made.html"],
        ["train", "STORE", "--out", "made"],
        ["probe", "STORE"],
        ["cache", "info", "STORE"],
        ["cache", "verify", "STORE"],
        ["cache", "copy", "STORE", "made.zarr"],
        ["cache", "merge", "STORE", "--out", "made.zarr"],
        ["cache", "export", "STORE", "made.h5"],
        ["cache", "gc", "STORE"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("part", ["", "zarr.json", "samples"])
def test_a_store_that_may_not_be_read(
    words: list[str],
    part: str,
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(trained.store, tmp_path / "locked.zarr")
    monkeypatch.chdir(tmp_path)
    names = {"RUN": str(trained.run), "STORE": str(tmp_path / "locked.zarr")}
    lock(monkeypatch, tmp_path / "locked.zarr" / part)
    line = one_line(samcache(*(names.get(word, word) for word in words)))
    assert "Permission denied: ask its owner for access, or use a copy of your own" in line
    assert str(tmp_path / "locked.zarr") in line
    assert "Errno" not in line


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EACCES, "ask its owner for access"),
        (errno.ENOSPC, "free some space"),
        (errno.EROFS, "give a path on a writable disk"),
        (errno.ENAMETOOLONG, "give a shorter name"),
        (errno.ETXTBSY, "check the path and the disk"),
    ],
)
def test_any_error_of_the_system_is_told_in_words(
    number: int, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number), "some/file")

    monkeypatch.setattr("samcache.cache.care.info.describe", fail)
    monkeypatch.setattr("samcache.cache.store.Store.__init__", fail)
    line = one_line(samcache("cache", "info", "some"))
    assert line.startswith(f"Error: some/file: {os.strerror(number)}: {advice}")
