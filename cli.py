"""The command line: options become a frozen dataclass, one call does the work, errors are one line.

The commands themselves are in ``commands/``.
"""

from __future__ import annotations

from typing import Any

import click

from samcache.cache.errors import SamcacheError
from samcache.commands.cache import cache
from samcache.commands.doctor import doctor
from samcache.commands.extract import extract
from samcache.commands.predict import evaluate, export, predict
from samcache.commands.report import report
from samcache.commands.train import compare, probe, train


class OneLineErrors(click.Group):
    """A group whose commands' errors reach the user as one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SamcacheError as error:
            raise click.ClickException(" ".join(str(error).split())) from error
        except OSError as error:  # no space, no permission, a path through a file
            raise click.ClickException(str(error)) from error


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="samcache")
def cli() -> None:
    """Encode images once with a frozen Segment Anything encoder, train classifiers many times.

    \b
    samcache extract  images -> store of features   (once, on a GPU node)
    samcache train    store -> classifier           (many times, anywhere)
    samcache predict  classifier, images -> probabilities
    samcache cache    look at stores, move them, keep them whole

    Exit status: 0 done, 1 an error (one line says which), 2 wrong usage, 3 done, but some images
    could not be read and are recorded in the store, 130 interrupted (Ctrl-C), 143 told to end
    (SIGTERM).
    """


for command in (extract, train, probe, compare, predict, evaluate, export, doctor, cache, report):
    cli.add_command(command)


if __name__ == "__main__":
    cli()
