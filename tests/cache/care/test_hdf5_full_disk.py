"""An export onto a disk that gets full: one line, nothing left behind, and no crash of HDF5."""

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_extraction import Extract

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from samcache.cli import cli
cli()
"""


@pytest.mark.parametrize("size", [0, 3000, 9000, 40_000])
def test_a_disk_that_gets_full_is_one_line(size: int, run_extract: Extract, tmp_path: Path) -> None:
    """A limit on files stands in for a small disk: HDF5 is told of either by a failing write."""
    store, out = run_extract()[0].location, tmp_path / "out"
    out.mkdir()
    words = [sys.executable, "-c", LIMITED, str(size), "cache", "export", store, str(out / "x.h5")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if "exporting" not in line]
    assert len(lines) == 1
    assert "x.h5 cannot be written (File too large)" in lines[0]
    assert list(out.iterdir()) == []
