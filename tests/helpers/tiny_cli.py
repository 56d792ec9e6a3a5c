"""The samcache command with the tiny encoder among its choices, for tests of whole processes.

    python tiny_cli.py PAUSE extract SOURCE --store STORE --encoder vit_tiny …

PAUSE is the seconds that each batch takes longer.
"""

import sys
import time
from typing import Any

import tiny_encoder  # noqa: F401 - makes vit_tiny known

from samcache.cli import cli
from samcache.extract.pipeline import fill
from samcache.extract.pipeline.batch_encoder import BatchEncoder


def run_command(pause: str, *words: str) -> None:
    """Run the command, which knows the tiny encoder; each batch takes longer."""
    begin = BatchEncoder.begin

    def slowed(self: BatchEncoder, *rest: Any) -> Any:
        time.sleep(float(pause))
        return begin(self, *rest)

    BatchEncoder.begin = slowed  # type: ignore[method-assign]
    fill._PATIENCE = 0.1  # for shards of a process that was killed
    cli(words)


if __name__ == "__main__":
    run_command(*sys.argv[1:])
