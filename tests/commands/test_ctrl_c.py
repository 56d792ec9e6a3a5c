"""Signals become one exception; a second Ctrl-C, or no end in time, ends the process at once."""

import os
import signal
import sys
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import FunctionType

import pytest

from samcache.cache.errors import ConfigError
from samcache.commands.terminal import ctrl_c
from samcache.commands.terminal.ctrl_c import Interrupted, stop_cleanly


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Statuses with which the process would have ended at once."""
    statuses: list[int] = []
    monkeypatch.setattr(os, "_exit", statuses.append)
    return statuses


def interrupt(first: int, *following: int, seconds: float = 0.0) -> int:
    """Send signals one after another and unwind for some time; the one that was raised."""
    try:
        with stop_cleanly():
            try:
                os.kill(os.getpid(), first)
                time.sleep(1)
            finally:
                for number in following:
                    os.kill(os.getpid(), number)
                time.sleep(seconds)
    except Interrupted as stop:
        return stop.number
    return 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_raises_and_the_handlers_come_back(number: int, exits: list[int]) -> None:
    before = signal.getsignal(number)
    assert interrupt(number) == number
    assert signal.getsignal(number) is before
    assert exits == []


@pytest.mark.parametrize("package", ["importlib._bootstrap", "zarr.core.sync"])
def test_imports_and_zarr_are_through_before_it_raises(package: str, exits: list[int]) -> None:
    """An exception amid them leaves half a module, or a coroutine that nobody awaits."""
    through: list[bool] = []

    def at_work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)
        through.append(True)

    named = {**globals(), "__name__": package}
    work = FunctionType(at_work.__code__, named, closure=at_work.__closure__)
    with pytest.raises(Interrupted) as stopped, stop_cleanly():  # noqa: PT012
        work()
        time.sleep(1)
    assert through == [True]
    assert stopped.value.number == signal.SIGTERM
    assert exits == []


def test_a_signal_amid_the_last_import_is_forgotten_with_the_command(exits: list[int]) -> None:
    with stop_cleanly():
        exec("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", {"__name__": "importlib"})
    time.sleep(0.1)
    assert exits == []


class Finalised:
    """Its end is when a signal arrives."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)


def interrupt_in_finaliser() -> None:
    Finalised()


def interrupt_in_callback() -> None:
    def end(_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)

    gone = type("Gone", (), {})()
    reference = weakref.ref(gone, end)
    del gone
    assert reference() is None


def interrupt_in_library() -> None:
    with suppress(BaseException):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)


def interrupt_under_another_error() -> None:
    try:
        interrupt_in_library_that_stops()
    finally:
        raise UnboundLocalError("state")


def interrupt_in_library_that_stops() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)


def interrupt_before_exit() -> None:
    interrupt_in_library()
    sys.exit(0)


@pytest.mark.parametrize(
    "work",
    [
        interrupt_in_finaliser,
        interrupt_in_callback,
        interrupt_in_library,
        interrupt_under_another_error,
        interrupt_before_exit,
    ],
)
def test_an_interruption_that_python_or_a_library_forgets_is_none_the_less(
    work: Callable[[], None], exits: list[int]
) -> None:
    """Python reports what is raised in a finaliser, and goes on."""
    hook = sys.unraisablehook
    with pytest.raises(Interrupted) as stopped, stop_cleanly():
        work()
    assert stopped.value.number == signal.SIGINT
    assert sys.unraisablehook is hook
    assert exits == []


def test_work_ends_soon_after_a_forgotten_interruption(exits: list[int]) -> None:
    begun = time.monotonic()
    with pytest.raises(Interrupted), stop_cleanly():  # noqa: PT012
        interrupt_in_finaliser()
        time.sleep(5)
    assert time.monotonic() - begun < 2
    assert exits == []


def test_what_is_said_while_unwinding_is_not_hidden(exits: list[int]) -> None:
    with pytest.raises(ConfigError, match="full"), stop_cleanly():  # noqa: PT012
        try:
            interrupt_in_library_that_stops()
        finally:
            raise ConfigError("the disk is full")
    assert exits == []


def test_what_a_launcher_sends_twice_counts_once(exits: list[int]) -> None:
    assert interrupt(signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGTERM) == signal.SIGINT
    assert exits == []


def test_a_second_ctrl_c_ends_at_once(exits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctrl_c, "_DOUBLE", 0.0)
    interrupt(signal.SIGINT, signal.SIGINT)
    assert exits == [130]


def test_what_does_not_end_in_time_is_ended(
    exits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctrl_c, "GRACE", 0.01)
    interrupt(signal.SIGTERM, seconds=0.3)
    assert exits == [143]
