"""What lies under a file's name in place of the file: what a failed download leaves."""

from pathlib import Path

_KINDS = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the file: run git lfs pull"),
    (b"<!doctype html", "is a web page, not the file: download the file itself"),
    (b"<html", "is a web page, not the file: download the file itself"),
)


def failed_download(path: Path) -> str:
    """What a file is instead, and what to do: "" where it is none of these; raises OSError."""
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "is empty (0 bytes): download it again"
    start = head.lstrip().lower()
    return next((text for begin, text in _KINDS if start.startswith(begin)), "")
