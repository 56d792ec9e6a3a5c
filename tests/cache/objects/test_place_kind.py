"""What is at a path: a store is told from other Zarr groups by its content."""

from pathlib import Path

import pytest
import zarr
from store_content import create

from samcache.cache.objects.place_kind import is_store


def test_a_store_is_a_store_and_another_zarr_group_is_none(tmp_path: Path) -> None:
    create(tmp_path / "store")
    zarr.create_group(tmp_path / "group", attributes={"made by": "another program"})
    assert is_store(tmp_path / "store")
    assert not is_store(tmp_path / "group")
    assert not is_store(tmp_path / "absent")


@pytest.mark.parametrize("data", [b"", b"torn", b"[]", b"{}", b'{"attributes": 1}'])
def test_a_root_record_that_is_torn_may_be_a_stores(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "zarr.json").write_bytes(data)
    assert is_store(tmp_path) == (data in (b"", b"torn"))
