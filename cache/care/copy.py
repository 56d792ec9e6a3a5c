"""Copy a store between two places: resumable, incremental, every byte checked twice."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from samcache.cache.care.transfer.shards import DamageFoundError, Outcome, Transfer
from samcache.cache.care.transfer.table import copy_table
from samcache.cache.commit import Writer
from samcache.cache.objects.base import run_in_parallel
from samcache.cache.objects.location import open_objects
from samcache.cache.progress import OnProgress, ignore_progress
from samcache.cache.store import Store

_PARALLEL = 16  # shards on their way at one time, memory permitting
_PATIENCE = 1.0  # seconds between looks at shards that another process is writing


@dataclass(frozen=True)
class CopySummary:
    """What a copy did."""

    source: str
    destination: str
    shards: int  # that were copied now, or completed
    standing: int  # that the destination had already
    bytes: int  # that were sent
    seconds: float
    damaged: dict[str, str]  # key -> why it was not copied

    def to_json(self) -> dict[str, Any]:
        """The summary as plain data."""
        return asdict(self)


def copy_store(
    source: Store, destination: str | Path, on_progress: OnProgress = ignore_progress
) -> CopySummary:
    """Bring a destination up to the source: all of it, or what it lacks of an earlier copy.

    Copies all commits and every sample table. Each object is compared with the checksum in its
    record before it is written and after it has arrived. An interrupted copy is a store that lacks
    shards; copying again completes it. Damage at the source is listed in the summary and does not
    stop the copy. Two copies to one destination share the work.

    Raises StoreError where the destination holds anything but this store or a part of it, where
    the source's newest sample table is damaged, or where either side cannot be reached.
    """
    started = time.perf_counter()
    objects = open_objects(destination)
    damaged = copy_table(source, objects)
    with Writer(destination, objects) as writer:
        transfer = Transfer(source, writer)
        shards, standing, total, found = _find_lacking(source, transfer)
        outcomes = copy_shards(transfer, shards, total, partial(on_progress, "copying"))
    for outcome in outcomes:
        found.update(outcome.damaged)
    return CopySummary(
        source=source.location,
        destination=str(destination),
        shards=sum(not (outcome.damaged or outcome.stood) for outcome in outcomes),
        standing=standing + sum(outcome.stood for outcome in outcomes),
        bytes=sum(outcome.bytes for outcome in outcomes),
        seconds=time.perf_counter() - started,
        damaged={**damaged, **found},
    )


def copy_shards(
    transfer: Transfer, shards: list[int], total: int, on_bytes: Callable[[int, int], None]
) -> list[Outcome]:
    """Copy shards of ``total`` bytes; shards that other processes write are waited for.

    on_bytes: receives the bytes that are done, and the total. Raises StoreError where either side
    cannot be reached.
    """
    lock, bytes_done = threading.Lock(), 0

    def count(added: int) -> None:
        nonlocal bytes_done
        with lock:
            bytes_done += added
            on_bytes(bytes_done, total)

    transfer.on_bytes = count
    done: list[Outcome] = []
    while shards:
        outcomes = _copy_each(transfer, shards)
        done += [outcome for outcome in outcomes if not outcome.busy]
        shards = [outcome.shard for outcome in outcomes if outcome.busy]
        if shards:
            time.sleep(_PATIENCE)
    return sorted(done, key=lambda outcome: outcome.shard)


def _copy_each(transfer: Transfer, shards: list[int]) -> list[Outcome]:
    """Try each shard once; where one fails for good, or on Ctrl-C, begin no other object."""
    with ThreadPoolExecutor(_PARALLEL) as pool:
        futures = [pool.submit(transfer.copy, shard) for shard in shards]
        try:
            return [future.result() for future in as_completed(futures)]
        except BaseException:
            transfer.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _find_lacking(source: Store, transfer: Transfer) -> tuple[list[int], int, int, dict[str, str]]:
    """Shards to copy, how many need not be, the bytes to copy, and damage found on the way."""
    shards, standing, total, damaged = [], 0, 0, {}

    def look(shard: int) -> tuple[int, int | DamageFoundError | None]:
        try:
            return shard, transfer.count_lacking_bytes(shard)
        except DamageFoundError as error:
            return shard, error

    committed = source.list_committed() if source.objects.listable else range(source.layout.shards)
    for shard, found in run_in_parallel(look, committed):
        if isinstance(found, DamageFoundError):
            damaged[found.key] = found.problem
        elif found:
            shards.append(shard)
            total += found
        elif found == 0:
            standing += 1
    return shards, standing, total, damaged
