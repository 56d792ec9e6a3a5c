"""Signals become one exception; a second Ctrl-C, or no end in time, ends the process at once."""

import os
import signal
import time
from types import FunctionType

import pytest

from samcache.extract import interruption
from samcache.extract.interruption import Interrupted, interruptible


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Statuses with which the process would have ended at once."""
    statuses: list[int] = []
    monkeypatch.setattr(os, "_exit", statuses.append)
    return statuses


def interrupt(first: int, *following: int, seconds: float = 0.0) -> int:
    """Send signals one after another and unwind for some time; the one that was raised."""
    try:
        with interruptible():
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
    with pytest.raises(Interrupted) as stopped, interruptible():  # noqa: PT012
        work()
        time.sleep(1)
    assert through == [True]
    assert stopped.value.number == signal.SIGTERM
    assert exits == []


def test_a_signal_amid_the_last_import_is_forgotten_with_the_command(exits: list[int]) -> None:
    with interruptible():
        exec("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", {"__name__": "importlib"})
    time.sleep(0.1)
    assert exits == []


def test_what_a_launcher_sends_twice_counts_once(exits: list[int]) -> None:
    assert interrupt(signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGTERM) == signal.SIGINT
    assert exits == []


def test_a_second_ctrl_c_ends_at_once(exits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "_DOUBLE", 0.0)
    interrupt(signal.SIGINT, signal.SIGINT)
    assert exits == [130]


def test_what_does_not_end_in_time_is_ended(
    exits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interruption, "GRACE", 0.01)
    interrupt(signal.SIGTERM, seconds=0.3)
    assert exits == [143]
