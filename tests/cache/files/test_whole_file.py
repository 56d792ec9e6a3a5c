"""A file that is written is there whole, whoever else writes it and however full the disk is."""

import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from samcache.cache.errors import WriteError
from samcache.cache.files.whole_file import PART, remove_parts, replace_file, write_file


def fill_disk(path: Path) -> None:
    """Write a little, and then fail as on a full disk."""
    path.write_bytes(b"half")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def stop(path: Path) -> None:
    path.write_bytes(b"half")
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("fail", "raised", "message"),
    [
        (
            fill_disk,
            WriteError,
            r"out.csv cannot be written \(No space left on device\): free some space",
        ),
        (stop, KeyboardInterrupt, None),
    ],
)
def test_a_failure_leaves_the_former_file_and_nothing_else(
    fail: Callable[[Path], None], raised: type[BaseException], message: str | None, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    out.write_text("former")
    with pytest.raises(raised, match=message), replace_file(out) as part:  # noqa: PT012
        assert part.suffix == ".csv", "writers mind the suffix"
        fail(part)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"out.csv": "former"}


def test_writers_at_the_same_time_do_not_mix(tmp_path: Path) -> None:
    out, meeting = tmp_path / "out.csv", threading.Barrier(4)

    def write(letter: str) -> None:
        with replace_file(out) as part, part.open("w") as file:
            for _ in range(50):
                meeting.wait()
                file.write(letter * 100)
                file.flush()

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = out.read_text()
    assert content == content[0] * 5000
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_permissions_are_the_former_files(mode: int, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    write_file(out, "first")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(out.stat().st_mode) == 0o666 & ~umask
    out.chmod(mode)
    write_file(out, "second")
    assert stat.S_IMODE(out.stat().st_mode) == mode
    assert out.read_text() == "second"


def test_links_are_replaced_and_pipes_are_written_to(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(elsewhere)
    write_file(link, "new")
    assert (link.read_text(), elsewhere.read_text(), link.is_symlink()) == ("new", "mine", False)
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_file(pipe, "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_place_where_nothing_can_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "a" / "out.csv", tmp_path / ("x" * 300), tmp_path):
        with pytest.raises(WriteError, match=r"cannot be written .*: choose another path"):
            write_file(out, "text")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_exclusive_file_replaces_none_that_came_meanwhile(tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    with pytest.raises(FileExistsError), replace_file(out, exclusive=True) as part:  # noqa: PT012
        part.write_text("late")
        out.write_text("first")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["first"]


def test_errors_of_other_files_are_not_called_errors_of_this_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="source"), replace_file(tmp_path / "out"):
        (tmp_path / "source").read_bytes()


def test_what_killed_writers_left_can_be_removed(tmp_path: Path) -> None:
    (tmp_path / f"{PART}1.csv").write_text("half")
    (tmp_path / "whole.csv").write_text("whole")
    remove_parts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["whole.csv"]
