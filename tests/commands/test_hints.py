"""The options that an error names, from the hint that the library gives."""

import click
import pytest
from click.testing import CliRunner

from samcache.cache.errors import SamcacheError
from samcache.commands.terminal.group import Samcache


@pytest.mark.parametrize(
    ("hint", "line"),
    [
        ("", "Error: choose another pooling\n"),
        ("pool", "Error: choose another pooling (--pool)\n"),
        ("batch_size image_size", "Error: choose another pooling (--batch-size or --image-size)\n"),
        ("labels+kind pool", "Error: choose another pooling (--labels and --kind or --pool)\n"),
        ("prefixes", "Error: choose another pooling (--prefix)\n"),
    ],
)
def test_an_error_names_the_options_that_its_hint_stands_for(hint: str, line: str) -> None:
    @click.command()
    def fail() -> None:
        raise SamcacheError("choose another\npooling", hint)

    group = Samcache()
    group.add_command(fail)
    result = CliRunner().invoke(group, ["fail"])
    assert (result.exit_code, result.output) == (1, line)
