"""Stopping in good order: Ctrl-C, and the SIGTERM that Slurm and torchrun send before a kill."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from samcache.cache.errors import SamcacheError

GRACE = 25.0  # seconds; Slurm's KillWait and torchrun's own patience are 30
_WHOLE = {"importlib", "_frozen_importlib", "zarr"}  # packages that an exception must not cut short
_LOOK = 0.05  # seconds between looks whether they are through
_DOUBLE = 1.0  # seconds; a launcher passes on what the terminal has sent to its workers already


class Interrupted(KeyboardInterrupt):
    """The process was asked to stop; ``number`` is the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise Interrupted in the main thread at the first SIGINT or SIGTERM within.

    An import is waited for: half of torch's ends in an abort, half of numpy's in other errors. So
    is zarr, whose coroutines would complain that nobody awaits them. What then unwinds has 25
    seconds: finished shards are written, claims are given up. After that, and at a second Ctrl-C,
    the process ends at once, with exit status 128 + signal: a store bears that too, at the price of
    the claims' time.

    Python forgets what is raised in a finaliser or in the callback of a weak reference: Interrupted
    is raised again there. Where a library has caught it, or raised an error of its own over it, it
    is raised when the block ends: nobody knows whether the work was done.
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

    def forgotten(lost: "sys.UnraisableHookArgs") -> None:
        if isinstance(lost.exc_value, Interrupted):
            signal.setitimer(signal.ITIMER_REAL, _LOOK)
        else:
            hook(lost)

    handlers = {signal.SIGINT: stop, signal.SIGTERM: stop, signal.SIGALRM: end}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    hook, sys.unraisablehook = sys.unraisablehook, forgotten
    try:
        yield
        if raised:
            raise Interrupted(raised[0])
    except SystemExit as end_of_command:
        if raised and not end_of_command.code:
            raise Interrupted(raised[0]) from None
        raise
    except SamcacheError:  # of what unwinds
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


def _is_amid(frame: FrameType | None) -> bool:
    """Whether the main thread is within a package that is waited for."""
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] in _WHOLE:
            return True
        frame = frame.f_back
    return False
