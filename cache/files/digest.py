"""File checksums."""

import hashlib
import os
from pathlib import Path

from samcache.cache.files.regular_file import open_regular


def hash_file(path: Path) -> str:
    """SHA-256 (hex) of a regular file's bytes; raises OSError where it cannot be read."""
    with os.fdopen(open_regular(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
