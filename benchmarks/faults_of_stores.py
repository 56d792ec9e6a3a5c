"""What is done to a store on purpose: sleeping writers, exchanged objects, links, hostile records.

Each function makes rounds of one kind and returns an ``Outcome``, which ``faults.py`` prints. As a
program, this file is the other machine of ``sleeping_tables``.
"""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

import tiny_encoder  # noqa: F401 - makes vit_tiny known

from samcache.cache import claims
from samcache.cache.care.damage.open_damaged import open_damaged
from samcache.cache.care.info import describe
from samcache.cache.care.listing import list_stores
from samcache.cache.care.merge import merge_stores
from samcache.cache.care.verify import verify
from samcache.cache.errors import SamcacheError, read_first_line
from samcache.cache.format.records import seal, unseal
from samcache.cache.objects.folder import FolderObjects
from samcache.cache.store import Store
from samcache.extract.options import ExtractOptions
from samcache.extract.run import extract

QUIET = Console(file=StringIO())
SLEEP = 125.0  # seconds: longer than a claim lasts
STEPS = 10  # writes before which a writer of tables falls asleep, one after the other
PATIENCE = 60  # seconds after which reading a hostile record counts as a traceback
DEEP = 100_000


@dataclass
class Outcome:
    """Rounds of one kind, and what went wrong in them."""

    rounds: int = 0
    lost: int = 0  # rows (files, for links) that are not there any more
    wrong: int = 0  # rows that are read with other values
    undetected: int = 0  # rounds in which full verify says "all well", and rows are lost or wrong
    tracebacks: int = 0  # commands that ended in an error of Python's, or did not end


@dataclass(frozen=True)
class Reference:
    """Each sample's rows by id, read from a store that nothing has happened to."""

    rows: dict[str, dict[str, np.ndarray]]  # id -> array path -> values

    @classmethod
    def of(cls, store: Store) -> "Reference":
        arrays = {path: store.read(path, 0, store.layout.rows) for path in store.arrays}
        ids = zip(store.samples["id"], store.samples["row"], strict=True)
        return cls({name: {p: values[row] for p, values in arrays.items()} for name, row in ids})

    def compare(self, location: Path, wanted: set[str], outcome: Outcome) -> None:
        """Count the wanted samples that a store lacks, and all that it has with other values."""
        lost, wrong = len(wanted), 0
        try:
            store = Store(location)
            here = store.samples[store.samples["status"] == "ok"]
            arrays = {path: store.read(path, 0, store.layout.rows) for path in store.arrays}
            lost = len(wanted - set(here["id"]))
            for name, row in zip(here["id"], here["row"], strict=True):
                wrong += any(differs(v[row], self.rows[name][p]) for p, v in arrays.items())
            outcome.undetected += bool((lost or wrong) and not verify(store))
        except SamcacheError:
            pass  # reported: lost, but never wrong
        outcome.lost, outcome.wrong = outcome.lost + lost, outcome.wrong + wrong


def differs(found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether a row is another image's; a row encoded in another batch has other last bits."""
    return not np.allclose(found.astype(float), expected.astype(float), atol=2e-3, rtol=2e-3)


def sleeping_tables(options: ExtractOptions, folder: Path, reference: Reference) -> Outcome:
    """One extraction sleeps before its n-th write; another machine makes the whole store."""
    outcome = Outcome()
    for grows in (False, True):
        for step in range(STEPS):
            path = folder / f"slept-{grows}-{step}.zarr"
            whole = replace(options, store=path, limit=40)
            if grows:
                extract(replace(whole, limit=16))
            words = [str(word) for word in (options.source, path, options.checkpoint)]
            other = partial(subprocess.run, [sys.executable, __file__, *words], check=True)
            with before_write(step, other) as slept:
                limited = partial(extract, replace(whole, limit=24), QUIET)
                run_command(limited, outcome)
            if slept():
                outcome.rounds += 1
                reference.compare(path, set(list(reference.rows)[:40]), outcome)
            shutil.rmtree(path, ignore_errors=True)
    return outcome


def extract_on_another_machine(source: str, store: str, checkpoint: str) -> None:
    """Extract where processes of this machine are unknown, and after a while."""
    later = time.time() + SLEEP
    with (
        mock.patch.object(claims, "_hash_place", return_value="elsewhere"),
        mock.patch.object(claims.time, "time", return_value=later),
    ):
        extract(options_for(Path(source), Path(store), Path(checkpoint)))


def options_for(source: Path, store: Path, checkpoint: Path) -> ExtractOptions:
    """Shards of eight, so that a store of forty has several."""
    made = ExtractOptions(source, store, "vit_tiny", checkpoint, pool=2)
    return replace(made, batch_size=4, shard_rows=8)


@contextmanager
def before_write(step: int, act: Callable[[], object]) -> Iterator[Callable[[], bool]]:
    """Have something else happen before the n-th object is created; whether it has happened."""
    create, left = FolderObjects.create, [step]

    def create_slowly(self: FolderObjects, key: str, data: bytes) -> bool:
        left[0] -= 1
        if left[0] == -1:
            act()
        return create(self, key, data)

    with mock.patch.object(FolderObjects, "create", create_slowly):
        yield lambda: left[0] < 0


def exchanged_objects(
    whole: Path, folder: Path, rounds: int, rng: random.Random, reference: Reference
) -> Outcome:
    """Two shards' objects of one array change places, as after a restore into the wrong names."""
    outcome, store = Outcome(rounds), Store(whole)
    for number in range(rounds):
        path, merged = folder / f"exchanged-{number}.zarr", folder / f"merged-{number}.zarr"
        shutil.copytree(whole, path)
        spec = rng.choice(list(store.arrays.values()))
        first, second = (path / spec.make_key(s) for s in rng.sample(sorted(store.commits), 2))
        content = first.read_bytes(), second.read_bytes()
        first.write_bytes(content[1])
        second.write_bytes(content[0])
        reference.compare(path, set(), outcome)
        sealed = run_command(lambda p=path, m=merged: merge_stores([Store(p)], m, False), outcome)  # type: ignore[misc]
        if sealed:
            reference.compare(merged, set(), outcome)
        for place in (path, merged):
            shutil.rmtree(place, ignore_errors=True)
    return outcome


def merge(path: Path, merged: Path) -> None:
    """Write what a store holds under fresh checksums."""
    merge_stores([Store(path)], merged, False)


def links(
    options: ExtractOptions, whole: Path, folder: Path, rounds: int, rng: random.Random
) -> Outcome:
    """A part of a store is a link to a folder outside, and an extraction goes on in the store."""
    outcome = Outcome(rounds)
    for number in range(rounds):
        path, outside = folder / f"linked-{number}.zarr", folder / f"outside-{number}"
        shutil.copytree(whole, path)
        (path / "commits" / "00000001" / "zarr.json").unlink()
        parts = [p for p in sorted(path.rglob("*")) if p.is_dir()]
        part = rng.choice(parts)
        part.rename(outside)
        part.symlink_to(outside)
        before = files_in(outside)
        run_command(partial(extract, replace(options, store=path), QUIET), outcome)
        after = files_in(outside)
        outcome.lost += sum(after.get(name) != data for name, data in before.items())
        outcome.wrong += len(after.keys() - before.keys())
        shutil.rmtree(path)
        shutil.rmtree(outside)
    return outcome


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its path."""
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


HOSTILE: tuple[Any, ...] = (None, True, -1, 2**63, 10**400, 1e308, float("inf"), float("nan"))
HOSTILE += ("", "\ud800", "a\0b", "../../x", "/dev/zero", "\x1b[2J", [], {}, [[]], {"a": None})


def hostile_records(whole: Path, folder: Path, rounds: int, rng: random.Random) -> Outcome:
    """One value of one record becomes another, under a fresh checksum; then the store is read."""
    outcome = Outcome(rounds)
    for number in range(rounds):
        path = folder / f"hostile-{number}.zarr"
        shutil.copytree(whole, path)
        record = rng.choice([p for p in sorted(path.rglob("zarr.json")) if is_record(p)])
        content = unseal(record.read_bytes())
        if rng.random() < 0.05:
            record.write_text("[" * DEEP + "]" * DEEP)
        else:
            change(content, rng)
            record.write_bytes(seal(content))
        for read in (open_and_verify, read_all, list_stores):
            run_command(partial(read, path), outcome)
        shutil.rmtree(path)
    return outcome


def is_record(path: Path) -> bool:
    """Whether a file is a record with a checksum, and no array's metadata."""
    try:
        unseal(path.read_bytes())
    except ValueError:
        return False
    return True


def change(content: Any, rng: random.Random) -> None:
    """Put a hostile value in the place of one that is drawn at random, at any depth."""
    places = list(content) if isinstance(content, dict) else range(len(content))
    place = rng.choice(list(places))
    if isinstance(content[place], (dict, list)) and content[place] and rng.random() < 0.7:
        change(content[place], rng)
    else:
        content[place] = rng.choice(HOSTILE)


def open_and_verify(path: Path) -> None:
    """Compare a store with its records, as ``samcache cache verify`` does."""
    verify(open_damaged(path)[0])


def read_all(path: Path) -> None:
    """Read every row of a store, as ``samcache train`` does."""
    store = Store(path)
    json.dumps(describe(store))
    for array in store.arrays:
        store.read(array, 0, min(store.layout.rows, 1000))


def run_command(command: Callable[[], object], outcome: Outcome) -> bool:
    """Run what a user runs; whether it succeeded.

    An error of Python's own, or one that does not end, counts as a traceback.
    """
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(PATIENCE)
    try:
        command()
    except SamcacheError:
        return False
    except Exception as error:  # a user would see any of them
        print(f"{type(error).__name__}: {read_first_line(error)[:100]}", file=sys.stderr)
        outcome.tracebacks += 1
        return False
    finally:
        signal.alarm(0)
    return True


def _give_up(*_: object) -> None:
    raise TimeoutError(f"not done after {PATIENCE} s")


if __name__ == "__main__":
    extract_on_another_machine(*sys.argv[1:])
