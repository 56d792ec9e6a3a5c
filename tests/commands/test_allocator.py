"""Memory that a command frees is used again, without the system's clearing it anew."""

import json
import platform
import subprocess
import sys

import pytest

FAULTS = """
import json, resource, sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from click.testing import CliRunner
from samcache.cli import cli

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    [np.ones(2**24, np.uint8) for _ in range(4)]  # 64 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

counted = [faults(), faults()]
CliRunner().invoke(cli, ["cache", "--help"])
thread = ThreadPoolExecutor(1)
later = [thread.submit(faults).result() for _ in range(3)]
print(json.dumps([*counted, faults(), faults(), *later]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is another's")
def test_within_a_command_freed_memory_is_not_mapped_anew() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], check=True, stdout=subprocess.PIPE, text=True
    )
    first, second, _, again, _, _, in_a_thread = json.loads(done.stdout)
    # 32 where all pages are huge ones
    assert max(again, in_a_thread) < 20 < min(first, second)
