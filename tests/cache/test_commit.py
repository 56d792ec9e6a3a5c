"""A pending shard is claimed by one process, and nothing is written under a lost claim."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from store_content import content, create, everything, samples, uncommit

from samcache.cache import commit as writing
from samcache.cache.claims import make_claim_key
from samcache.cache.commit import Writer, commit_shard, replace_objects
from samcache.cache.errors import OvertakenError
from samcache.cache.format.commit_record import make_commit_key, make_shard_name, make_spare_key
from samcache.cache.format.records import seal
from samcache.cache.objects.folder import FolderObjects


def test_a_shard_that_was_committed_meanwhile_is_not_claimed(tmp_path: Path) -> None:
    store = create(tmp_path / "s.zarr")
    with Writer(store.location) as writer:
        commit_shard(store, 0, content(store, 0))  # by another process, after `store` was opened
        assert writer.claim_pending(store, 0) is None
        store.objects.delete([make_spare_key(0)])  # nor without its spare
        assert writer.claim_pending(store, 0) is None
        assert writer.claim(0), "the claim was given up"
        pending = writer.claim_pending(store, 1)
        assert pending
        assert writer.claim_pending(store, 1) is None, "this process holds it"


def test_a_lost_record_is_restored_from_its_spare_instead_of_claimed(tmp_path: Path) -> None:
    store = create(tmp_path / "s.zarr")
    commit_shard(store, 0, content(store, 0))
    store.objects.delete([make_commit_key(0)])
    with Writer(store.location) as writer:
        assert writer.claim_pending(store, 0) is None
    assert store.find_commit(0)
    uncommit(store, 0)
    with Writer(store.location) as writer:
        assert writer.claim_pending(store, 0)


def test_no_object_is_replaced_under_a_lost_claim(tmp_path: Path) -> None:
    store = create(tmp_path / "s.zarr")
    with Writer(store.location) as writer:
        claim = writer.claim(0)
        assert claim
        replace_objects(store, {"features/a": b"mine"}, claim)
        taken = replace(claim.record, attempt=1, token="another")
        store.objects.put(make_claim_key(make_shard_name(0), 1), seal(asdict(taken)))
        before = everything(store)
        with pytest.raises(OvertakenError):
            replace_objects(store, {"features/a": b"late"}, claim)
        assert everything(store) == before


def test_a_store_that_another_process_creates_meanwhile_is_not_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pattern = create(tmp_path / "pattern.zarr")
    with Writer(tmp_path / "s.zarr") as first, Writer(tmp_path / "s.zarr") as second:
        claim = first.claim_table()

        def wait(_: float) -> None:
            create(tmp_path / "s.zarr", objects=FolderObjects(tmp_path / "s.zarr"))
            claim.release()

        monkeypatch.setattr(writing.time, "sleep", wait)
        second.create(lambda: pytest.fail("the other process has created the store"))
        assert len(second.open().table) == len(pattern.table) == len(samples(10))
