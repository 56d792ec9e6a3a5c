"""Copy a store between any two places: resumable, incremental, every byte checked twice."""

import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from samcache.cache.care.transfer.shards import DamageFoundError, Outcome, Transfer
from samcache.cache.care.transfer.table import copy_table
from samcache.cache.objects.base import in_parallel
from samcache.cache.objects.location import open_objects
from samcache.cache.store import Store
from samcache.cache.text import count_nouns
from samcache.cache.writer import Writer

_PARALLEL = 16  # shards on their way at one time, memory permitting
_PATIENCE = 1.0  # seconds between looks at shards that another process is writing


@dataclass(frozen=True)
class CopySummary:
    """What a copy did."""

    source: str
    destination: str
    shards: int  # that were copied now, or completed
    standing: int  # that were there already
    bytes: int  # that were sent
    seconds: float
    damaged: dict[str, str]  # key -> why it was not copied

    def to_json(self) -> dict[str, Any]:
        """The summary as plain data."""
        return asdict(self)

    def text(self) -> str:
        """One line, and one for each object that could not be copied."""
        head = (
            f"{self.destination}: {count_nouns(self.shards, 'shard')} copied "
            f"({decimal(self.bytes)} in {self.seconds:.1f} s), {self.standing} were there"
        )
        if not self.damaged:
            return head
        lines = [
            head,
            f"{count_nouns(len(self.damaged), 'object')} of {self.source} could not be copied:",
        ]
        return "\n".join([*lines, *(f"  {key} {why}" for key, why in self.damaged.items())])


def copy_store(source: Store, destination: str | Path, console: Console) -> CopySummary:
    """Bring a destination up to the source: all of it, or what it lacks of an earlier copy.

    Copied is what is committed, with every sample table. Each object is compared with the
    checksum in its record before it is written and again after it has arrived. A copy that is cut
    off is a store that lacks shards; copying again goes on. Damage at the source is listed in the
    summary and keeps nothing else back. Two copies to one destination share the work.

    Raises StoreError where the destination holds anything but this store or a part of it, where
    the source's newest sample table is damaged, or where either side cannot be reached.
    """
    started = time.perf_counter()
    objects = open_objects(destination)
    damaged = copy_table(source, objects)
    with Writer(destination, objects) as writer:
        transfer = Transfer(source, writer)
        shards, standing, total, found = _lacking(source, transfer)
        outcomes = copy_shards(transfer, shards, total, "copying", console)
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
    transfer: Transfer, shards: list[int], total: int, title: str, console: Console
) -> list[Outcome]:
    """Copy shards, with a progress bar of ``total`` bytes; those that others write are waited for.

    Raises StoreError where either side cannot be reached.
    """
    if not shards:
        return []
    done: list[Outcome] = []
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=total)
        transfer.on_bytes = lambda count: progress.advance(task, count)
        while shards:
            outcomes = _round(transfer, shards)
            done += [outcome for outcome in outcomes if not outcome.busy]
            shards = [outcome.shard for outcome in outcomes if outcome.busy]
            if shards:
                time.sleep(_PATIENCE)
    return sorted(done, key=lambda outcome: outcome.shard)


def _round(transfer: Transfer, shards: list[int]) -> list[Outcome]:
    """Try each shard once; where one fails for good, or on Ctrl-C, begin no other object."""
    with ThreadPoolExecutor(_PARALLEL) as pool:
        futures = [pool.submit(transfer.copy, shard) for shard in shards]
        try:
            return [future.result() for future in as_completed(futures)]
        except BaseException:
            transfer.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _lacking(source: Store, transfer: Transfer) -> tuple[list[int], int, int, dict[str, str]]:
    """Shards to copy, how many need not be, the bytes to copy, and damage found on the way."""
    shards, standing, total, damaged = [], 0, 0, {}

    def look(shard: int) -> tuple[int, int | DamageFoundError | None]:
        try:
            return shard, transfer.lacking(shard)
        except DamageFoundError as error:
            return shard, error

    committed = source.committed() if source.objects.listable else range(source.layout.shards)
    for shard, found in in_parallel(look, committed):
        if isinstance(found, DamageFoundError):
            damaged[found.key] = found.problem
        elif found:
            shards.append(shard)
            total += found
        elif found == 0:
            standing += 1
    return shards, standing, total, damaged
