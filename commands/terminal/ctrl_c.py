"""Stop cleanly on Ctrl-C, and on the SIGTERM that Slurm and torchrun send before SIGKILL."""

import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import click

from samcache.cache.errors import SamcacheError

GRACE = 25.0  # seconds; Slurm's KillWait and torchrun's timeout are 30
_WHOLE = {"importlib", "_frozen_importlib", "zarr"}  # packages that an exception must not cut short
_LOOK = 0.05  # seconds between checks whether they have finished
_DOUBLE = 1.0  # seconds; launchers repeat the signal that the terminal sent to the workers


class Interrupted(KeyboardInterrupt):
    """The process was asked to stop; ``number`` is the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def stop_cleanly() -> Iterator[None]:
    """Raise Interrupted in the main thread at the first SIGINT or SIGTERM within.

    Imports finish first: a half-imported torch aborts, a half-imported numpy raises other errors.
    Calls into zarr finish first, too: its coroutines would warn that they were never awaited. Then
    the process has 25 seconds to write finished shards and to release its claims. After these, or
    at a second Ctrl-C, the process ends at once with exit status 128 + signal. The store stays
    intact, but the claims block other writers until they expire.

    Python drops exceptions raised in a finaliser or in the callback of a weak reference, so
    Interrupted is raised again. Where a library catches Interrupted or replaces it by an error of
    its own, Interrupted is raised when the block ends, because the work may be incomplete.
    """
    first: list[tuple[float, int]] = []
    raised: list[int] = []
    timers: list[threading.Timer] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if first:
            if number == signal.SIGINT and time.monotonic() - first[0][0] > _DOUBLE:
                os._exit(128 + number)
            return
        first.append((time.monotonic(), number))
        timers.append(threading.Timer(GRACE, os._exit, (128 + number,)))
        timers[0].daemon = True
        timers[0].start()
        end(number, frame)

    def end(_: int, frame: FrameType | None) -> None:
        if _is_amid(frame):
            signal.setitimer(signal.ITIMER_REAL, _LOOK)
        else:
            raised.append(first[0][1])
            raise Interrupted(first[0][1])

    def raise_again(lost: "sys.UnraisableHookArgs") -> None:
        if isinstance(lost.exc_value, Interrupted):
            signal.setitimer(signal.ITIMER_REAL, _LOOK)
        else:
            hook(lost)

    handlers = {signal.SIGINT: stop, signal.SIGTERM: stop, signal.SIGALRM: end}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    hook, sys.unraisablehook = sys.unraisablehook, raise_again
    try:
        yield
        if raised:
            raise Interrupted(raised[0])
    except SystemExit as end_of_command:
        if raised and not end_of_command.code:
            raise Interrupted(raised[0]) from None
        raise
    except SamcacheError:  # raised while the stack unwinds
        raise
    except Exception as error:
        if raised:
            raise Interrupted(raised[0]) from error
        raise
    finally:
        sys.unraisablehook = hook
        signal.setitimer(signal.ITIMER_REAL, 0)
        for timer in timers:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def print_how_to_resume(how: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a command print ``how`` to resume after Ctrl-C or SIGTERM, and exit with 130 or 143."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(*arguments: Any, **options: Any) -> Any:
            try:
                return command(*arguments, **options)
            except KeyboardInterrupt as stop:
                end_by_signal(stop, how)

        return run

    return decorate


def end_by_signal(stop: KeyboardInterrupt, how: str) -> NoReturn:
    """Print which signal stopped the command and how to resume; exit with 128 + signal."""
    number = getattr(stop, "number", signal.SIGINT)
    click.echo(f"Stopped by {signal.Signals(number).name}: {how}", err=True)
    sys.exit(128 + number)


def _is_amid(frame: FrameType | None) -> bool:
    """Whether the main thread runs code of a package that must finish first."""
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] in _WHOLE:
            return True
        frame = frame.f_back
    return False
