"""A pending shard is claimed by one process, and a committed one by nobody."""

from pathlib import Path

from store_content import content, create, uncommit

from samcache.cache.format.commits import commit_key
from samcache.cache.writer import Writer, commit_shard


def test_a_shard_that_was_committed_meanwhile_is_not_claimed(tmp_path: Path) -> None:
    store = create(tmp_path / "s.zarr")
    with Writer(store.location) as writer:
        commit_shard(store, 0, content(store, 0))  # by another process, after `store` was opened
        assert writer.claim_pending(store, 0) is None
        assert writer.claim(0), "the claim was given up"
        pending = writer.claim_pending(store, 1)
        assert pending
        assert writer.claim_pending(store, 1) is None, "this process holds it"


def test_a_lost_record_is_restored_from_its_spare_instead_of_claimed(tmp_path: Path) -> None:
    store = create(tmp_path / "s.zarr")
    commit_shard(store, 0, content(store, 0))
    store.objects.delete([commit_key(0)])
    with Writer(store.location) as writer:
        assert writer.claim_pending(store, 0) is None
    assert store.find_commit(0)
    uncommit(store, 0)
    with Writer(store.location) as writer:
        assert writer.claim_pending(store, 0)
