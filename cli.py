"""The command line: options become a frozen dataclass, one call does the work, errors are one line.

The commands themselves are in ``commands/``.
"""

from __future__ import annotations

import sys

try:
    import samcache.cache  # noqa: F401  refuses a system that samcache does not run on
except ImportError as unsupported:
    sys.exit(f"Error: {unsupported}")

try:
    import click

    from samcache.commands.cache import cache
    from samcache.commands.compare import compare
    from samcache.commands.completion import completion
    from samcache.commands.doctor import doctor
    from samcache.commands.encoders import encoders
    from samcache.commands.evaluate import evaluate
    from samcache.commands.export import export
    from samcache.commands.extract import extract
    from samcache.commands.predict import predict
    from samcache.commands.probe import probe
    from samcache.commands.report import report
    from samcache.commands.sweep import sweep
    from samcache.commands.terminal.allocator import keep_freed_memory
    from samcache.commands.terminal.group import Samcache, make_quiet_option, make_verbose_option
    from samcache.commands.train import train
except KeyboardInterrupt:  # Ctrl-C before a command could handle it
    sys.stderr.write("Stopped by SIGINT before any work began\n")
    sys.exit(130)


@click.group(
    cls=Samcache,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="samcache")
def cli() -> None:
    """Encode images once with a frozen Segment Anything encoder; train classifiers many times.

    \b
    samcache extract images --store team.zarr --encoder vit_b    once, on a GPU node
    samcache train team.zarr --out runs/slca                     many times, on any machine
    samcache predict runs/slca new-images                        for new images
    samcache cache info team.zarr                                show what a store holds

    \b
    Exit status:
      0    success
      1    error (one line); verify: damage found; diff: stores differ
      2    wrong usage
      3    success, but some images could not be read; each is recorded with its reason
           (extract --accept-unreadable: 0 if the store already records all of them)
      130  interrupted by Ctrl-C
      143  stopped by SIGTERM
    """
    keep_freed_memory()


cli.params += [make_quiet_option(), make_verbose_option()]
for command in (
    *(extract, probe, train, sweep, compare, report),  # in the order of use
    *(predict, evaluate, export),
    *(cache, encoders, doctor, completion),
):
    cli.add_command(command)


if __name__ == "__main__":
    cli()
