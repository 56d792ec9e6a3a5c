"""Everything that can go wrong with a store, many times: nothing committed may be lost or wrong.

    python benchmarks/faults.py [--rounds 200] [--seed 0]

Extraction by 1 to 4 processes killed with SIGKILL at random moments; a disk that runs full; one
bit flipped in every kind of object, found and repaired; an S3 server (moto, over HTTP) behind a
proxy that fails requests at random. Then what is done on purpose (``faults_of_stores.py``): writers
of tables that sleep, exchanged objects, links, hostile records. The encoder is tiny and its weights
are random: what is tested is the store. Needs ``pip install -e '.[dev]'``; the full disk needs
root, for a tmpfs.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

import click
import numpy as np
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from faults_of_s3 import failing_s3
from faults_of_stores import (
    Reference,
    exchanged_objects,
    hostile_records,
    links,
    options_for,
    sleeping_tables,
)
from tiny_encoder import save_tiny_checkpoint
from tiny_extraction import write_npz

from samcache.cache.care.damage.open_damaged import open_damaged
from samcache.cache.care.verify import verify
from samcache.cache.errors import SamcacheError
from samcache.cache.store import Store
from samcache.extract.options import ExtractOptions
from samcache.extract.repair import RepairOptions, repair
from samcache.extract.run import extract

TESTS = Path(__file__).parents[1] / "tests" / "helpers"
QUIET = Console(file=StringIO())
ROUNDS_ON_A_FULL_DISK = 10
FLIPS_A_KIND = 10
ROUNDS_ON_S3 = 3


@dataclass
class Trial:
    """The options of an extraction, what it must result in, and the count of what went wrong."""

    options: ExtractOptions
    expected: dict[str, np.ndarray]  # array path -> its values
    rng: random.Random
    lost: int = 0  # rows that were committed once and are not any more
    wrong: int = 0  # committed rows with other values
    undetected: int = 0  # flips that change what is said and that verify does not find

    def check(self, location: str | Path, before: set[int]) -> set[int]:
        """Count rows lost since ``before`` and wrong rows; the shards committed now."""
        store = Store(location)
        commits = store.commits
        for shard in before - commits.keys():
            self.lost += len(range(*store.layout.find_rows(shard)))
        damaged = {row for damage in verify(store) for row in damage.rows}
        for shard in commits:
            rows = range(*store.layout.find_rows(shard))
            if damaged & set(rows):
                self.wrong += len(rows)
                continue
            for path, values in self.expected.items():
                found = store.read(path, rows.start, rows.stop)
                differs = found != values[rows.start : rows.stop]
                self.wrong += int(differs.reshape(len(rows), -1).any(axis=1).sum())
        return set(commits)


@click.command()
@click.option("--rounds", default=200, show_default=True, help="Of processes killed.")
@click.option("--seed", default=0, show_default=True)
def main(rounds: int, seed: int) -> None:
    """Run all faults and print a table; exits with 1 if anything but 0 stands in a column."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        npz = write_npz(folder / "toy.npz", (240, 40, 40))
        checkpoint = save_tiny_checkpoint(folder / "tiny.pth")
        options = options_for(npz, folder / "whole.zarr", checkpoint)
        in_a_process(options)
        store = Store(options.store)
        expected = {path: store.read(path, 0, store.layout.rows) for path in store.arrays}
        trial = Trial(options, expected, random.Random(seed))
        print("| fault | rounds | faults | lost | wrong | undetected | tracebacks |")
        print("|---|---|---|---|---|---|---|")
        bad = attacks(options, folder, rounds, trial.rng)
        for title, run in {
            "SIGKILL, 1 to 4 writers": lambda: kills(trial, folder, rounds),
            "disk full": lambda: full_disk(trial, folder),
            "one bit flipped, then repaired": lambda: flips(trial, folder),
            "S3 requests that fail": lambda: s3(trial),
        }.items():
            done, faults = run()
            counts = trial.lost, trial.wrong, trial.undetected
            cells = " | ".join(map(str, counts))
            print(f"| {title} | {done} | {faults} | {cells} | 0 |", flush=True)
            bad, trial.lost, trial.wrong, trial.undetected = bad + sum(counts), 0, 0, 0
    print(f"in all: {bad} lost, wrong, undetected or in a traceback")
    sys.exit(bool(bad))


def attacks(options: ExtractOptions, folder: Path, rounds: int, rng: random.Random) -> int:
    """Run what is done to a store on purpose, and print its lines; how much went wrong."""
    reference, whole, bad = Reference.of(Store(options.store)), Path(options.store), 0
    for title, run in {
        "a writer of tables sleeps": lambda: sleeping_tables(options, folder, reference),
        "two objects exchanged": lambda: exchanged_objects(
            whole, folder, rounds // 10, rng, reference
        ),
        "a link inside the store": lambda: links(options, whole, folder, rounds // 10, rng),
        "a hostile value in a record": lambda: hostile_records(whole, folder, rounds, rng),
    }.items():
        found = run()
        counts = found.lost, found.wrong, found.undetected, found.tracebacks
        cells = " | ".join(map(str, counts))
        print(f"| {title} | {found.rounds} | {found.rounds} | {cells} |", flush=True)
        bad += sum(counts)
    return bad


def fork(options: ExtractOptions) -> int:
    """Start an extraction in a copy of this process, in which all is imported; its number."""
    process = os.fork()
    if process:
        return process
    try:
        import torch

        torch.set_num_threads(1)
        extract(options)
        os._exit(0)
    except SamcacheError as error:
        print(error, file=sys.stderr)
        os._exit(1)


def in_a_process(options: ExtractOptions) -> int:
    """Run an extraction to its end in a process of its own; its exit status."""
    return os.waitstatus_to_exitcode(os.waitpid(fork(options), 0)[1])


def kills(trial: Trial, folder: Path, rounds: int) -> tuple[int, str]:
    """Kill some of the writers of each round; what they leave is the next round's start."""
    path, committed, killed, stores = folder / "killed-0.zarr", set[int](), 0, 0
    for _ in range(rounds):
        options = replace(trial.options, store=path)
        writers = [fork(options) for _ in range(trial.rng.randint(1, 4))]
        time.sleep(trial.rng.uniform(0.0, 1.0))
        victims = trial.rng.sample(writers, trial.rng.randint(1, len(writers)))
        for process in victims:
            os.kill(process, signal.SIGKILL)
        statuses = {process: os.waitpid(process, 0)[1] for process in writers}
        ends = [os.waitstatus_to_exitcode(status) for status in statuses.values()]
        assert set(ends) <= {0, -signal.SIGKILL}, ends
        killed += ends.count(-signal.SIGKILL)
        if (path / "zarr.json").exists():
            committed = trial.check(path, committed)
        if len(committed) == len(trial.expected["statistics"]) / options.shard_rows:
            stores, committed = stores + 1, set()
            path = folder / f"killed-{stores}.zarr"
    return rounds, f"{killed} processes killed, {stores} stores finished"


def full_disk(trial: Trial, folder: Path) -> tuple[int, str]:
    """Extract into a tmpfs that is too small, then give it room and go on."""
    if os.geteuid() != 0:
        return 0, "skipped: mounting a tmpfs needs root"
    mount, refused = folder / "small", 0
    mount.mkdir()
    for _ in range(ROUNDS_ON_A_FULL_DISK):
        size = f"size={trial.rng.randint(60, 1500)}k"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(mount)], check=True)
        try:
            options = replace(trial.options, store=mount / "s.zarr")
            refused += in_a_process(options) == 1
            whole = (mount / "s.zarr" / "zarr.json").exists()
            committed = trial.check(mount / "s.zarr", set()) if whole else set()
            resize = ["mount", "-o", "remount,size=64m", str(mount)]
            subprocess.run(resize, check=True)
            assert in_a_process(options) == 0
            trial.check(mount / "s.zarr", committed)
        finally:
            subprocess.run(["umount", str(mount)], check=True)
    return ROUNDS_ON_A_FULL_DISK, f"{refused} runs out of space"


def flips(trial: Trial, folder: Path) -> tuple[int, str]:
    """Flip one bit at a time in every kind of object; verify must name it, repair restore it."""
    path = folder / "flipped.zarr"
    assert in_a_process(replace(trial.options, store=path)) == 0
    options = RepairOptions(path, trial.options.source, trial.options.checkpoint, batch_size=4)
    kinds: dict[str, list[Path]] = {}
    for file in sorted(path.rglob("*")):
        if file.is_file():
            kind = "/".join(p for p in file.relative_to(path).parts if not p.isdigit())
            kinds.setdefault(kind, []).append(file)
    counts: Counter[str] = Counter()
    for files in kinds.values():
        for _ in range(FLIPS_A_KIND):
            file = trial.rng.choice(files)
            before = file.read_bytes()
            place = trial.rng.randrange(len(before) * 8)
            data = bytearray(before)
            data[place // 8] ^= 1 << place % 8
            file.write_bytes(bytes(data))
            store, damage = open_damaged(path)
            found = bool([*damage, *verify(store)])
            counts["found"] += found
            trial.undetected += not found and not _says_the_same(file, before, bytes(data))
            counts["repaired"] += not repair(options).left
            opened, left = open_damaged(path)
            still = {row for one in [*left, *verify(opened)] for row in one.rows}
            counts["rows still damaged"] += len(still)
            trial.lost += len(still)
            counts["flips"] += 1
    store = Store(path)
    for array, values in trial.expected.items():  # a row encoded alone has other last bits
        here = store.read(array, 0, len(values)).astype(float)
        close = np.isclose(here, values.astype(float), atol=2e-3, rtol=2e-3)
        trial.wrong += int((~close.reshape(len(values), -1).all(axis=1)).sum())
    told = ", ".join(f"{count} {what}" for what, count in counts.items())
    return counts["flips"], f"{len(kinds)} kinds of object: {told}"


def _says_the_same(file: Path, before: bytes, after: bytes) -> bool:
    """Whether two texts are one JSON value: a blank may have become another one."""
    try:
        return file.suffix == ".json" and bool(json.loads(before) == json.loads(after))
    except ValueError:
        return False


def s3(trial: Trial) -> tuple[int, str]:
    """Extract with two processes over a connection that fails a tenth of all requests."""
    faults: Counter[str] = Counter()
    options = trial.options
    for number in range(ROUNDS_ON_S3):
        with failing_s3(share=0.1, seed=number) as (location, counts):
            words = [str(options.source), location, str(options.checkpoint), "0"]
            # not forked: obstore's threads do not live on in a forked process
            command = [sys.executable, str(TESTS / "killed_extract.py"), *words]
            environment = {**os.environ, "PYTHONPATH": str(TESTS)}
            workers = [subprocess.Popen(command, env=environment, stderr=pipe) for pipe in (-1, -1)]
            assert [worker.wait() for worker in workers] == [0, 0], workers
            assert len(trial.check(location, set())) == 40
            faults += counts()
    passed = faults.pop("pass")
    return ROUNDS_ON_S3, f"{faults.total()} of {faults.total() + passed} requests failed"


if __name__ == "__main__":
    main()
