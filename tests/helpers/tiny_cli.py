"""The samcache command with the tiny encoder among its choices, for tests of whole processes.

    python tiny_cli.py PAUSE extract SOURCE --store STORE --encoder vit_tiny …

PAUSE is the seconds that each batch takes longer.
"""

import sys
import time
from typing import Any

import click
import tiny_encoder  # noqa: F401 - makes vit_tiny known

from samcache.cli import cli
from samcache.commands.extract import ENCODERS
from samcache.extract.pipeline.shard_encoder import ShardEncoder

if __name__ == "__main__":
    pause = float(sys.argv.pop(1))
    begin = ShardEncoder._encode

    def slowed(self: ShardEncoder, *rest: Any) -> Any:
        time.sleep(pause)
        return begin(self, *rest)

    ShardEncoder._encode = slowed  # type: ignore[method-assign]
    choice = next(option for option in cli.commands["extract"].params if option.name == "encoder")
    choice.type = click.Choice([*ENCODERS, "vit_tiny"])
    cli()
