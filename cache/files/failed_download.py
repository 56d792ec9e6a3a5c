"""What a failed download leaves under a file's name: an empty file, a web page, a pointer."""

from pathlib import Path

_KINDS = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the file: run git lfs pull"),
    (b"<!doctype html", "is a web page, not the file: download the file itself"),
    (b"<html", "is a web page, not the file: download the file itself"),
)


def describe_failed_download(path: Path) -> str:
    """What a file is instead, and what to do; "" for any other file. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "is empty (0 bytes): download it again"
    start = head.lstrip().lower()
    return next((text for begin, text in _KINDS if start.startswith(begin)), "")
