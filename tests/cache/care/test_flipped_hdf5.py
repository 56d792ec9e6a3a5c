"""A bit that flips anywhere in an exported file is found, or changes nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_content import everything, full_store

from samcache.cache.care.hdf5.store import export_store, import_store
from samcache.cache.errors import StoreError
from samcache.cache.format.layout import is_same_metadata
from samcache.cache.store import Store


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, bytes]:
    """A full store, and the bytes of the file that it was exported to."""
    folder = tmp_path_factory.mktemp("sound")
    store = full_store(folder / "s.zarr")
    export_store(store, folder / "s.h5")
    return store, (folder / "s.h5").read_bytes()


@settings(max_examples=100, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_found_or_harmless(
    sound: tuple[Store, bytes],
    tmp_path_factory: pytest.TempPathFactory,
    place: float,
    bit: int,
) -> None:
    folder, data = tmp_path_factory.mktemp("f"), bytearray(sound[1])
    data[int(place * len(data))] ^= 1 << bit
    (folder / "s.h5").write_bytes(data)
    before, again, message = everything(sound[0]), None, ""
    try:
        again = import_store(folder / "s.h5", folder / "t.zarr")
    except StoreError as error:
        message = str(error)
    assert again or (str(folder / "s.h5") in message and "\n" not in message)
    for key, found in everything(again).items() if again else ():
        # the JSON of array metadata may be written in other ways
        assert found == before[key] or is_same_metadata(found, before[key]), key
