"""The group of all commands: order, -q and -v, one line for each error."""

from __future__ import annotations

import logging
import shlex
from typing import TYPE_CHECKING, Any

import click

from samcache.cache.errors import SamcacheError, describe_os_error, read_first_line
from samcache.cache.memory import ran_out_of_memory
from samcache.commands.terminal.ctrl_c import end_by_signal, stop_cleanly
from samcache.commands.terminal.hints import explain_command, explain_error, explain_option
from samcache.commands.terminal.streams import open_console, visible_streams

if TYPE_CHECKING:
    from rich.console import Console

_LOUDNESS = "samcache.loudness"  # of a context's meta, which subcommands share


class Commands(click.Group):
    """A group that lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            if ctx.resilient_parsing:  # for shell completion
                return None, None, args
            raise explain_command(args[0], self, ctx)
        return super().resolve_command(ctx, args)


class Samcache(Commands):
    """The ``samcache`` group: adds -q and -v to every command and prints each error as one line."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        super().add_command(cmd, name)
        for leaf in cmd.commands.values() if isinstance(cmd, click.Group) else [cmd]:
            leaf.params += [make_quiet_option(), make_verbose_option()]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # An empty name would mean the current folder: "$IMAGES" is empty where it is not set.
        empty = [word for word in args if not word or (word[:2] == "--" and word[-1] == "=")]
        if empty and not ctx.resilient_parsing:
            name = empty[0].rstrip("=") or "an argument"
            raise click.UsageError(f"{name} is empty: is a shell variable not set?", ctx)
        return super().parse_args(ctx, args)

    def main(self, *arguments: Any, **options: Any) -> Any:
        with visible_streams():
            return super().main(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with stop_cleanly():
                return super().invoke(ctx)
        except click.NoSuchOption as error:
            raise explain_option(error) from None
        except SamcacheError as error:
            raise click.ClickException(explain_error(error)) from error
        except BrokenPipeError:  # as in ``samcache … | head``: click ends the process silently
            raise
        except (MemoryError, RuntimeError) as error:
            if not ran_out_of_memory(error):
                raise
            raise click.ClickException(
                f"there is not enough memory ({read_first_line(error)[:200]}): use a smaller "
                "--batch-size or --image-size if the command has one, or a machine with more memory"
            ) from error
        except OSError as error:  # no space, no permission, a path through a file
            raise click.ClickException(describe_os_error(error)) from error
        except KeyboardInterrupt as stop:
            end_by_signal(stop, "no partial output was left")


def make_console() -> Console:
    """Open the console for progress and remarks; -q silences it, -v adds the log."""
    from rich.logging import RichHandler

    context = click.get_current_context()
    loudness = context.meta.get(_LOUDNESS, "")
    # no markup: ``[red]`` in a name is part of the name
    made = open_console(stderr=True, quiet=loudness == "quiet", markup=False)
    if loudness == "verbose":
        logger = logging.getLogger("samcache")
        handler = RichHandler(console=made, show_path=False, log_time_format="%X")
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        context.find_root().call_on_close(lambda: _be_silent(logger, handler))
    return made


def remark(console: Console, line: str) -> None:
    """Print a remark unchanged: names may contain what rich would read as markup."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def suggest_after_store(store: str, trainable: bool = True) -> str:
    """The remark that names the next commands for a new store."""
    name = shlex.quote(store)
    probe = f"samcache probe {name}"
    return f"next: samcache train {name} --out RUN, or {probe}" if trainable else f"next: {probe}"


def suggest_after_run(run: str) -> str:
    """The remark that names a new run and the next commands for it."""
    name = shlex.quote(run)
    return f"{run} holds the run; next: samcache report {name}, or samcache compare {name} OTHER"


def _be_silent(logger: logging.Logger, handler: logging.Handler) -> None:
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def make_quiet_option() -> click.Option:
    """Make the -q option of the group and of each command."""
    return _make_loudness_option("-q", "--quiet", "Print only results and errors.")


def make_verbose_option() -> click.Option:
    """Make the -v option of the group and of each command."""
    return _make_loudness_option("-v", "--verbose", "Log decisions with times.")


def _make_loudness_option(short: str, long: str, text: str) -> click.Option:
    def remember(ctx: click.Context, param: click.Parameter, chosen: bool) -> None:
        if not chosen:
            return
        before = ctx.meta.setdefault(_LOUDNESS, param.name)
        if before != param.name:
            raise click.UsageError("--quiet and --verbose exclude each other")

    return click.Option(
        [short, long], is_flag=True, expose_value=False, callback=remember, help=text
    )
