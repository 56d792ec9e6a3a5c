"""Memory that a command frees is used again, without the system's clearing it anew."""

import json
import platform
import subprocess
import sys

import pytest

FAULTS = """
import json, resource, sys
import numpy as np
from click.testing import CliRunner
from samcache.cli import cli

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**26, np.uint8)  # 64 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

counted = [faults(), faults()]
CliRunner().invoke(cli, ["cache", "--help"])
print(json.dumps([*counted, faults(), faults()]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is another's")
def test_within_a_command_freed_memory_is_not_mapped_anew() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], check=True, stdout=subprocess.PIPE, text=True
    )
    first, second, _, again = json.loads(done.stdout)
    assert again < 20 < min(first, second)  # 32 where all pages are huge ones
