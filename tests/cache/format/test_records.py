"""A record comes back as it was sealed, or is known to be damaged."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samcache.cache.format.commit_record import Commit
from samcache.cache.format.records import seal, unseal

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(content=st.dictionaries(st.text(), VALUES))
def test_any_content_comes_back(content: dict[str, object]) -> None:
    assert unseal(seal(content)) == content


@given(failures=st.dictionaries(st.integers(0, 2000), st.text()))
def test_failures_of_any_rows_come_back(failures: dict[int, str]) -> None:
    """Numbers become text in JSON, and sort in another way: 9 comes before 10, "10" before "9"."""
    commit = Commit(0, (0, 2001), {}, ("",) * 2001, failures)
    assert Commit.from_bytes(commit.to_bytes(), 0).failures == failures


@given(content=st.dictionaries(st.text(), VALUES), place=st.integers(0), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found(content: dict[str, object], place: int, bit: int) -> None:
    data = bytearray(seal(content))
    data[place % len(data)] ^= 1 << bit
    try:
        found = unseal(bytes(data))
    except ValueError:
        return
    assert found == content  # the flip changed nothing that JSON knows


def test_json_that_is_no_record_is_refused() -> None:
    for text in ("", "1", "[]", "{}", "null", json.dumps({"attributes": {"samcache": {}}})):
        with pytest.raises(ValueError, match=r"record|Expecting"):
            unseal(text.encode())
