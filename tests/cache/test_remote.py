"""Stores in a bucket and behind a web server, also where many requests fail."""

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from servers import FAILURES, Failing, one_line
from store_content import content, create, full_store, samples

from samcache.cache.claims import Claims
from samcache.cache.commit import commit_shard
from samcache.cache.create import add_generation, store_exists
from samcache.cache.objects import bucket as objects
from samcache.cache.objects import location
from samcache.cache.objects.bucket import BucketObjects
from samcache.cache.objects.location import open_objects
from samcache.cache.store import Store


def assert_holds_what_was_written(store: Store) -> None:
    for shard in range(store.layout.shards):
        expected = content(store, shard)
        start, stop = store.layout.find_rows(shard)
        assert store.read_commit(shard).sources == expected.sources
        for path in store.arrays:
            np.testing.assert_array_equal(store.read(path, start, stop), expected.blocks[path])
    assert store.table["id"].tolist() == samples(store.layout.rows)["id"].tolist()
    assert store.list_pending() == []


def test_a_store_in_a_bucket_is_what_it_is_in_a_folder(s3: str, tmp_path: Path) -> None:
    store = full_store(f"{s3}/sub/toy.zarr")

    assert_holds_what_was_written(store)
    local = full_store(tmp_path / "toy.zarr")
    here, there = local.objects.list_objects(""), store.objects.list_objects("")
    assert here == there
    for key in here:
        if not key.startswith("commits/"):  # these hold the time
            assert local.objects.get(key) == store.objects.get(key)


def test_a_bucket_keeps_stores_apart_by_their_whole_name(s3: str) -> None:
    full_store(f"{s3}/toy")

    assert not store_exists(open_objects(f"{s3}/to"))
    assert not store_exists(open_objects(f"{s3}/toy.zarr"))
    assert open_objects(f"{s3}/to").list_objects("") == {}


def test_images_are_added_to_a_store_in_a_bucket(s3: str) -> None:
    store = full_store(f"{s3}/toy.zarr")

    grown = add_generation(store, samples(14).assign(row=[*range(10), *range(12, 16)]))

    assert Store(f"{s3}/toy.zarr").list_pending() == grown.list_pending() == [3]


def test_objects_larger_than_one_part_arrive_whole(s3: str) -> None:
    held = open_objects(f"{s3}/toy.zarr")
    data = np.random.default_rng(0).bytes(11_000_000)

    assert held.create("large", data)
    held.put("other", data)
    buffers = [bytearray(5_000_000), bytearray(6_000_000)]
    held.read_into("large", [memoryview(buffer) for buffer in buffers])

    assert b"".join(buffers) == held.get("other") == data
    with pytest.raises(ValueError, match="11000000 bytes"):
        held.read_into("large", [memoryview(bytearray(3))])


def test_a_record_of_absurd_size_is_not_fetched(s3: str) -> None:
    held = open_objects(f"{s3}/toy.zarr")
    held.put("record", bytes(1000))

    one_line(lambda: held.get("record", largest=999), "has 1000 bytes: it is damaged")


def test_deleting_passes_over_what_is_absent(s3: str) -> None:
    held = open_objects(f"{s3}/toy.zarr")
    for key in "abc":
        held.put(key, b"1")

    held.delete(["a", "nothing", "b"])

    assert held.list_objects("") == {"c": 1}


def test_of_many_creations_of_one_object_one_succeeds(s3: str) -> None:
    start, results = threading.Barrier(8), []

    def attempt(number: int) -> None:
        mine = open_objects(f"{s3}/toy.zarr")
        start.wait()
        for key in range(10):
            results.append((key, mine.create(f"{key}", f"{number}".encode()), number))

    run_all([threading.Thread(target=attempt, args=(number,)) for number in range(8)])

    held = open_objects(f"{s3}/toy.zarr")
    for key in range(10):
        winners = [number for done, created, number in results if done == key and created]
        assert [held.get(f"{key}")] == [f"{number}".encode() for number in winners]


def run_all(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_of_two_writers_with_other_values_one_commits_and_the_other_is_told(s3: str) -> None:
    create(f"{s3}/toy.zarr")
    stores, start = [Store(f"{s3}/toy.zarr") for _ in range(2)], threading.Barrier(2)
    committed: dict[int, list[int]] = {0: [], 1: []}

    def write(number: int) -> None:
        store = stores[number]
        with Claims(store.objects) as claims:
            start.wait()
            for shard in range(store.layout.shards):
                claim = claims.take(f"{shard}")
                if claim is not None and commit_shard(
                    store, shard, content(store, shard, seed=number)
                ):
                    committed[number].append(shard)

    run_all([threading.Thread(target=write, args=(number,)) for number in range(2)])

    assert sorted(committed[0] + committed[1]) == [0, 1, 2]
    store = Store(f"{s3}/toy.zarr")
    for number, shards in committed.items():
        for shard in shards:
            rows = store.layout.find_rows(shard)
            expected = content(store, shard, seed=number).blocks["images"]
            np.testing.assert_array_equal(store.read_images(*rows), expected)


@pytest.mark.parametrize(("seed", "inner_retries"), [(0, 0), (1, 0), (2, 3)])
def test_nothing_is_lost_where_every_third_request_fails(
    s3: str, failing: Failing, monkeypatch: pytest.MonkeyPatch, seed: int, inner_retries: int
) -> None:
    """Both with object_store's own retries and with none but ours."""
    monkeypatch.setattr(location, "_INNER_RETRIES", inner_retries)
    monkeypatch.setenv("SAMCACHE_RETRIES", "20")
    proxy = failing(share=1 / 3, seed=seed)

    store = full_store(f"{s3}/toy.zarr")
    with Claims(store.objects) as claims:
        claim = claims.take("table")
        assert claim is not None
        assert claim.is_ours()
    assert_holds_what_was_written(store)

    assert set(FAILURES) <= set(proxy.counts)
    proxy.share = 0
    assert_holds_what_was_written(Store(f"{s3}/toy.zarr"))
    assert list(store.objects.list_objects("claims")) == ["claims/zarr.json"]


def test_a_read_that_stalls_is_given_up_and_a_long_upload_is_not(
    s3: str, failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(location, "_STALL", {"read_timeout": timedelta(seconds=0.4)})
    monkeypatch.setenv("SAMCACHE_RETRIES", "0")
    proxy = failing(share=0)
    held = open_objects(f"{s3}/toy.zarr")
    proxy.pause = 1.0

    assert held.create("large", bytes(1_100_000))
    one_line(lambda: held.get("large"), "cannot be reached: no answer in time")


def test_where_requests_fail_one_of_two_writers_still_wins(s3: str, failing: Failing) -> None:
    proxy, start, results = failing(share=0.4), threading.Barrier(3), []

    def attempt(number: int) -> None:
        mine = open_objects(f"{s3}/toy.zarr")
        start.wait()
        for key in range(6):
            results.append((key, mine.create(f"{key}", f"{number}".encode()), number))

    run_all([threading.Thread(target=attempt, args=(number,)) for number in range(3)])

    proxy.share = 0
    for key in range(6):
        winners = [number for done, created, number in results if done == key and created]
        found = open_objects(f"{s3}/toy.zarr").get(f"{key}")
        assert [f"{number}".encode() for number in winners] == [found]


def test_a_server_that_overwrites_what_should_be_created_is_refused(
    s3: str, failing: Failing
) -> None:
    failing(share=0, forget=("if-none-match",))

    one_line(lambda: create(f"{s3}/toy.zarr"), "ignores If-None-Match")


def test_an_object_that_is_there_and_is_not_is_created_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """AWS answers 409 to one of two simultaneous writers, though the other may yet fail."""
    answers = [objects.exceptions.AlreadyExistsError("409"), None, None]

    def send(key: str, data: bytes) -> None:  # noqa: ARG001
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    held = BucketObjects(location.HTTPStore.from_url("http://127.0.0.1:9"), "s3://b")
    monkeypatch.setattr(objects, "_PAUSE", 0.001)
    monkeypatch.setattr(held, "_send", send)
    monkeypatch.setattr(held, "find_size", lambda key: None)  # noqa: ARG005

    assert held.create("k", b"data")
    assert len(answers) == 1


def test_an_outage_in_the_middle_is_waited_out(
    s3: str, failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_FIRST_PATIENCE", 0.0)
    proxy = failing(share=0)
    store = full_store(f"{s3}/toy.zarr")
    proxy.share = 1.0
    threading.Timer(1.0, setattr, (proxy, "share", 0.0)).start()

    np.testing.assert_array_equal(store.read_images(0, 4), content(store, 0).blocks["images"])


def test_a_store_is_read_from_a_plain_web_server(
    tmp_path: Path, nginx: Callable[[Path], str]
) -> None:
    full_store(tmp_path / "a b" / "toy.zarr")
    half = create(tmp_path / "half.zarr")
    commit_shard(half, 1, content(half, 1))
    url = nginx(tmp_path)

    assert_holds_what_was_written(Store(f"{url}/a b/toy.zarr/"))
    assert Store(f"{url}/half.zarr").list_committed() == [1]
    assert Store(f"{url}/half.zarr").list_pending() == [0, 2]
    one_line(lambda: Store(f"{url}/none.zarr"), "no store at http://")


def test_the_newest_table_is_found_behind_a_web_server(
    tmp_path: Path, nginx: Callable[[Path], str]
) -> None:
    store = full_store(tmp_path / "toy.zarr")
    for rows in (11, 12, 13):
        store = add_generation(store, samples(rows).assign(row=range(rows)))
    (tmp_path / "toy.zarr/samples/zarr.json").unlink()  # the hint

    assert Store(f"{nginx(tmp_path)}/toy.zarr").generation.number == 3


def test_writing_behind_a_web_server_is_refused(
    tmp_path: Path, nginx: Callable[[Path], str]
) -> None:
    full_store(tmp_path / "toy.zarr")
    url = nginx(tmp_path)
    store = Store(f"{url}/toy.zarr")

    one_line(lambda: commit_shard(store, 0, content(store, 0)), "is read-only")
    one_line(lambda: store.objects.put("k", b""), "is read-only")
    one_line(lambda: store.objects.delete(["k"]), "is read-only")
    one_line(lambda: create(f"{url}/new.zarr"), "cannot be listed|is read-only")
    one_line(lambda: store.objects.list_objects(""), "cannot be listed")
    one_line(lambda: store.objects.list_children(""), "cannot be listed")


def test_a_web_server_may_be_lossy_too(
    tmp_path: Path,
    nginx: Callable[[Path], str],
    failing: Failing,
) -> None:
    full_store(tmp_path / "toy.zarr")
    proxy = failing(share=0.3, target=nginx(tmp_path))

    assert_holds_what_was_written(Store(f"{proxy.url}/toy.zarr"))
    assert proxy.counts.total() > proxy.counts["pass"]
