"""Restore damaged objects from a store's spares and checksums, without source and encoder.

Nothing is removed here, and nothing is written that a checksum of the store does not confirm.
"""

from samcache.cache.care.damage.one_bit import correct_row, correct_small, is_sealed
from samcache.cache.care.damage.open_damaged import Damage
from samcache.cache.claims import Claim
from samcache.cache.commit import replace_objects
from samcache.cache.create import write_metadata
from samcache.cache.format.commit_record import (
    Commit,
    ObjectRecord,
    make_commit_key,
    make_spare_key,
)
from samcache.cache.format.description import ROOT
from samcache.cache.format.layout import ArraySpec
from samcache.cache.format.samples import make_generation_key
from samcache.cache.format.shards import CHECKSUM, compute_row_sums, crc32c, encode_index
from samcache.cache.objects.base import LARGEST_RECORD
from samcache.cache.store import Store


def restore_records(store: Store, damage: list[Damage]) -> Store:
    """Put back the root record, the table's record and the metadata; the store opened once more."""
    keys = {one.key for one in damage}
    if ROOT in keys:
        store.objects.put(ROOT, store.description.to_bytes())
    if make_generation_key(store.generation.number) in keys:
        store.objects.put(make_generation_key(store.generation.number), store.generation.to_bytes())
    return write_metadata(store)


def restore_columns(store: Store, damage: list[Damage]) -> list[str]:
    """Correct flipped bits in the sample table's columns; keys of those that stay damaged."""
    left = []
    for key in (one.key for one in damage if one.key in store.generation.objects):
        data = store.objects.find(key) or b""
        whole = _correct_column(data, store.generation.objects[key])
        if whole is None:
            left.append(key)
        else:
            store.objects.put(key, whole)
    return left


def _correct_column(data: bytes, record: ObjectRecord) -> bytes | None:
    """An object of the sample table with its one flipped bit turned back, or None."""
    corrected = correct_row(data[:-CHECKSUM], data[-CHECKSUM:])
    whole = b"" if corrected is None else corrected + crc32c(corrected)
    if ObjectRecord.of(whole) == record:
        return whole
    return correct_small(data, lambda tried: ObjectRecord.of(tried) == record)


def restore_commit_record(store: Store, shard: int, claim: Claim) -> bool:
    """Put back a shard's commit record and its spare; False where neither can be had.

    Of what can be read, a record comes first that every object matches: a process that slept may
    have put an old one back. Raises OvertakenError where the claim is lost.
    """
    keys = make_commit_key(shard), make_spare_key(shard)
    standing, copy = (store.objects.find(key, LARGEST_RECORD) for key in keys)
    tried = [standing, copy]
    if store.parse_if_readable(standing, shard) is None:
        tried.append(correct_small(standing or b"", is_sealed))
    records = list(dict.fromkeys(d for d in tried if d and store.parse_if_readable(d, shard)))
    if len(records) > 1:
        records.sort(key=lambda data: not store.is_whole(store.parse_commit(data, shard)))
    if records:
        replace_objects(store, dict.fromkeys(keys, records[0]), claim)
    return bool(records)


def correct_object(store: Store, spec: ArraySpec, commit: Commit) -> bool:
    """Correct an object's index and a flipped bit in each row; False where more differs."""
    key = spec.make_key(commit.shard)
    data = store.objects.find(key)
    if data is None or len(data) != commit.objects[key].bytes:
        return False
    present = commit.mark_present(store.rows_per_shard)
    sums = compute_row_sums(data, present, spec.row_bytes)
    parts = []
    for number in range(int(present.sum())):
        start = number * (spec.row_bytes + CHECKSUM)
        row = data[start : start + spec.row_bytes]
        corrected = correct_row(row, sums[number * CHECKSUM : (number + 1) * CHECKSUM])
        if corrected is None:
            return False
        parts += [corrected, crc32c(corrected)]
    whole = b"".join([*parts, encode_index(present, spec.row_bytes)])
    if ObjectRecord.of(whole) != commit.objects[key]:
        return False
    store.objects.put(key, whole)
    return True


def write_spares(store: Store) -> None:
    """Give every commit record a spare that has none: older versions wrote none."""
    keys = store.objects.list_objects("commits")
    for shard in store.list_committed():
        if make_spare_key(shard) not in keys:
            store.objects.put(make_spare_key(shard), store.objects.get(make_commit_key(shard)))
