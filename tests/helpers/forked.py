"""Processes that a server with torch in its memory forks: each begins in milliseconds."""

import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import MappingProxyType

HELPERS = Path(__file__).parent


class ForkedProcess:
    """A function in a process of its own; what it prints goes to two files."""

    def __init__(
        self,
        function: Callable[..., None],
        words: list[str],
        folder: Path,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """function: of a module in this folder; words: its arguments; folder: of the two files."""
        self._out, self._errors = folder / "stdout", folder / "stderr"
        folder.mkdir(parents=True)
        common = {"OMP_NUM_THREADS": "1", "COLUMNS": "140"}  # a bar in one line
        files = str(self._out), str(self._errors)
        self._process = start_server().Process(
            target=_run, args=(function, words, *files, {**common, **environment})
        )
        self._process.start()

    @property
    def returncode(self) -> int | None:
        """The exit status, minus the signal that killed the process; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """As ``returncode``."""
        return self._process.exitcode

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """What the process printed, and its errors, once it has ended."""
        self._process.join(timeout)
        assert self._process.exitcode is not None, "the process does not end"
        return self._out.read_text(), self._errors.read_text()

    def send_signal(self, number: int) -> None:
        """Send the process a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """Kill the process."""
        self.send_signal(signal.SIGKILL)


def start_ranks(
    function: Callable[..., None], words: list[str], folder: Path, size: int
) -> list[ForkedProcess]:
    """Processes with the variables that torchrun sets; torchrun starts each from nothing."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    processes = []
    for rank in range(size):
        ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = {name: str(value) for name, value in {**ranks, **place}.items()}
        processes.append(ForkedProcess(function, words, folder / f"rank-{rank}", environment))
    return processes


def start_server() -> ForkServerContext:
    """The context of the server, which the first process starts."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["killed_extract", "killed_train", "shared_sweep", "tiny_cli"])
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")])
    return context


def _run(
    function: Callable[..., None],
    words: list[str],
    out: str,
    errors: str,
    environment: dict[str, str],
) -> None:
    for name, stream in ((out, sys.stdout), (errors, sys.stderr)):
        with open(name, "w") as file:  # noqa: PTH123
            os.dup2(file.fileno(), stream.fileno())
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the server ignores it
    function(*words)
