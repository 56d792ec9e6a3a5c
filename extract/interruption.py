"""Stopping in good order: Ctrl-C, and the SIGTERM that Slurm and torchrun send before a kill."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE = 25.0  # seconds; Slurm's KillWait and torchrun's own patience are 30
_DOUBLE = 1.0  # seconds; a launcher passes on what the terminal has sent to its workers already


class Interrupted(KeyboardInterrupt):
    """The process was asked to stop; ``number`` is the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise Interrupted in the main thread at the first SIGINT or SIGTERM within.

    What then unwinds has 25 seconds: finished shards are written, claims are given up. After that,
    and at a second Ctrl-C, the process ends at once, with exit status 128 + signal: a store bears
    that too, at the price of the claims' time.
    """
    first: list[float] = []
    timers: list[threading.Timer] = []

    def stop(number: int, _: FrameType | None) -> None:
        if first:
            if number == signal.SIGINT and time.monotonic() - first[0] > _DOUBLE:
                os._exit(128 + number)
            return
        first.append(time.monotonic())
        timers.append(threading.Timer(GRACE, os._exit, (128 + number,)))
        timers[0].daemon = True
        timers[0].start()
        raise Interrupted(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
