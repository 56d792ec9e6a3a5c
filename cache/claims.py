"""Claims on shards: created conditionally, renewed, and taken over when their holder is dead.

Claims are ``claims/<name>.<attempt>/zarr.json``, each created once. The highest attempt counts;
the next may be created when its holder is dead or has let it expire. Creating is atomic on disk
and on S3, so of any number of processes exactly one makes each attempt. A claim keeps work from
being done twice; the guarantees of a commit rest on conditional creates (cache/commit.py).
"""

import hashlib
import os
import re
import socket
import threading
import time
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from samcache.cache.errors import OvertakenError, StoreError
from samcache.cache.files.typed_json import Count, Number, Text, convert
from samcache.cache.format.description import CLAIMS
from samcache.cache.format.records import seal, unseal
from samcache.cache.objects.base import LARGEST_RECORD, Objects

EXPIRY = 120.0  # seconds without renewal; clocks of different machines may differ by half of it
_RENEWALS = 4  # within one expiry
_ATTEMPT = re.compile(r"[0-9]{4,15}")

Process = Annotated[int, Meta(ge=0, lt=1 << 31)]


@dataclass(frozen=True)
class ClaimRecord:
    """One attempt at a piece of work; names no host, only a hash of where its holder runs."""

    attempt: Count
    token: Text
    place: Text
    process: Process
    started: Text  # of the process, so that a reused number is not taken for it; "" where unknown
    expires: Number  # seconds since 1970

    def is_live(self) -> bool:
        """Whether its holder may still be running.

        A holder that this machine does not show (another user's process under ``hidepid``, or any
        process where there is no /proc) counts as live until the claim expires.
        """
        if self.place == _hash_place():
            if not _process_exists(self.process):
                return False
            started = _read_start(self.process)
            if started and self.started:
                return started == self.started
        return time.time() < self.expires


class Claim:
    """This process's right to do a piece of work; a context that ends with its release."""

    def __init__(self, claims: "Claims", name: str, record: ClaimRecord) -> None:
        self.record = record
        self._claims = claims
        self._name = name

    def is_ours(self) -> bool:
        """Whether the claim is still the newest, read afresh: no other process took it over."""
        newest = find_newest_claim(self._claims.objects, self._name)
        return newest is not None and newest.token == self.record.token

    def check(self) -> None:
        """Raise OvertakenError where another process took the claim over."""
        if not self.is_ours():
            raise OvertakenError(f"{self._name} was taken over by another process")

    def release(self) -> None:
        """Give the claim up, and remove what earlier attempts left."""
        self._claims.release(self._name)

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Claims:
    """This process's claims in one store, renewed by a thread until the context ends."""

    def __init__(self, objects: Objects, expiry: float = EXPIRY) -> None:
        self.objects = objects
        self._expiry = expiry
        self._records: dict[str, ClaimRecord] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._renewer = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> "Claims":
        self._renewer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._renewer.join()
        for name in list(self._records):
            self.release(name)

    def take(self, name: str) -> Claim | None:
        """Claim a piece of work, also from a dead holder; None while its holder is alive."""
        newest = find_newest_claim(self.objects, name)
        if newest is not None and newest.is_live():
            return None
        record = ClaimRecord(
            attempt=newest.attempt + 1 if newest else 0,
            token=uuid.uuid4().hex,
            place=_hash_place(),
            process=os.getpid(),
            started=_read_start(os.getpid()),
            expires=time.time() + self._expiry,
        )
        if not self.objects.create(make_claim_key(name, record.attempt), seal(asdict(record))):
            return None
        with self._lock:
            self._records[name] = record
        return Claim(self, name, record)

    def release(self, name: str) -> None:
        """Give a claim up, and remove what earlier attempts left."""
        with self._lock:
            record = self._records.pop(name)
            listed = _list_attempts(self.objects, name) if record.attempt else []
            former = [attempt for attempt in listed if attempt < record.attempt]
            self.objects.delete(make_claim_key(name, n) for n in (record.attempt, *former))

    def _renew(self) -> None:
        while not self._ended.wait(self._expiry / _RENEWALS):
            with self._lock:
                for name, record in self._records.items():
                    key = make_claim_key(name, record.attempt)
                    fresh = replace(record, expires=time.time() + self._expiry)
                    try:
                        # a claim that expired while this machine slept is not renewed
                        if Claim(self, name, record).is_ours():
                            self.objects.put(key, seal(asdict(fresh)))
                    except StoreError:
                        continue  # the other side cannot be reached: the work will report it


def make_claim_key(name: str, attempt: int) -> str:
    """The object of one attempt."""
    return f"{CLAIMS}/{name}.{attempt:04d}/zarr.json"


def find_newest_claim(objects: Objects, name: str) -> ClaimRecord | None:
    """The highest attempt at a piece of work, or None; a damaged claim counts as dead."""
    attempts = _list_attempts(objects, name)
    if not attempts:
        return None
    attempt = max(attempts)
    data = objects.find(make_claim_key(name, attempt), LARGEST_RECORD)
    if data is None:
        return None
    try:
        return replace(convert(unseal(data), ClaimRecord), attempt=attempt)
    except ValueError:
        return ClaimRecord(attempt, "", "", 0, "", 0.0)


def _list_attempts(objects: Objects, name: str) -> list[int]:
    """The attempts at a piece of work that a store has."""
    parts = (_parse_attempt(key, name) for key in objects.list_objects(CLAIMS))
    return [int(part) for part in parts if _ATTEMPT.fullmatch(part)]


def _parse_attempt(key: str, name: str) -> str:
    """The attempt in a key, as text; empty for keys of other pieces of work."""
    parts = key.split("/")
    return parts[1].removeprefix(f"{name}.") if len(parts) == 3 and name in parts[1] else ""


def _hash_place() -> str:
    """A hash of what makes a process number unique: machine, its boot, and process namespace."""
    parts = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id",):
        parts.append(Path(path).read_text() if Path(path).exists() else "")
    namespace = Path("/proc/self/ns/pid")
    parts.append(str(namespace.readlink()) if namespace.is_symlink() else "")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _read_start(process: int) -> str:
    """When a process of this machine began, in ticks since boot; empty where that is not shown.

    A process that has ended, and that its parent has not collected yet, gives "ended".
    """
    try:
        if str(Path("/proc/self").readlink()) != str(os.getpid()):
            return ""  # /proc shows another process namespace, whose numbers mean other processes
        stat = Path(f"/proc/{process}/stat").read_text(errors="replace")
    except OSError:
        return ""
    state, *fields = stat.rpartition(")")[2].split()
    return "ended" if state in ("Z", "X") else fields[18]


def _process_exists(process: int) -> bool:
    """Whether this machine has a process of a number, of any user."""
    if process <= 0:
        return False  # names groups of processes
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
