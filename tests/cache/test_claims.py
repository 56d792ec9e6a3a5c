"""Of any number of processes one holds a claim; a dead holder's is taken over, a live one's not."""

import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from samcache.cache import claims as claiming
from samcache.cache.claims import ClaimRecord, Claims, find_newest_claim, make_claim_key
from samcache.cache.format.records import seal
from samcache.cache.objects.base import Objects
from samcache.cache.objects.location import open_objects


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return open_objects(tmp_path / "s.zarr")


def put(objects: Objects, claim: ClaimRecord) -> None:
    objects.put(make_claim_key("00000000", claim.attempt), seal(asdict(claim)))


def of_another_machine(claim: ClaimRecord, expires: float) -> ClaimRecord:
    return replace(claim, token="other", place="elsewhere", expires=time.time() + expires)


def test_one_of_many_threads_gets_each_claim(objects: Objects) -> None:
    won: list[tuple[str, int]] = []

    def work(worker: int) -> None:
        with Claims(objects) as claims:
            for shard in range(20):
                if claims.take(f"{shard:08d}") is not None:
                    won.append((f"{shard:08d}", worker))
            everyone.wait()

    everyone = threading.Barrier(4)
    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for name, _ in won) == [f"{shard:08d}" for shard in range(20)]
    assert objects.list_objects("claims") == {}, "all are given up at the end"


def test_a_claim_of_a_living_process_stands_however_old(objects: Objects) -> None:
    with Claims(objects, expiry=0.0) as first, Claims(objects) as second:
        claim = first.take("00000000")
        assert claim is not None
        assert second.take("00000000") is None
        assert claim.is_ours()


def test_a_dead_process_of_this_machine_is_succeeded_at_once(
    objects: Objects, tmp_path: Path
) -> None:
    code = (
        "import os, sys; from samcache.cache.claims import Claims;"
        "from samcache.cache.objects.location import open_objects;"
        "claims = Claims(open_objects(sys.argv[1])); claims.take('00000000'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "s.zarr")], check=False)
    left = find_newest_claim(objects, "00000000")
    assert left is not None
    assert left.process != os.getpid()
    with Claims(objects) as claims:
        taken = claims.take("00000000")
        assert taken is not None
        assert taken.record.attempt == 1
    assert objects.list_objects("claims") == {}


def test_another_machines_claim_stands_until_it_expires(objects: Objects) -> None:
    with Claims(objects) as claims:
        claim = claims.take("00000000")
        assert claim is not None
        put(objects, of_another_machine(claim.record, expires=60))
        assert claims.take("00000000") is None
        put(objects, of_another_machine(claim.record, expires=-1))
        taken = claims.take("00000000")
        assert taken is not None
        assert taken.record.attempt == 1


def test_who_was_succeeded_holds_nothing_and_removes_nothing(objects: Objects) -> None:
    with Claims(objects) as claims:
        claim = claims.take("00000000")
        assert claim is not None
        put(objects, replace(of_another_machine(claim.record, 60), attempt=1))
        assert not claim.is_ours()
        claim.release()
    assert list(objects.list_objects("claims")) == [make_claim_key("00000000", 1)]


def test_a_claim_is_renewed_while_its_holder_works(objects: Objects) -> None:
    with Claims(objects, expiry=0.2) as claims:
        claim = claims.take("00000000")
        assert claim is not None
        deadline = time.monotonic() + 10
        while find_newest_claim(objects, "00000000").expires <= claim.record.expires:  # type: ignore[union-attr]
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_damaged_claim_counts_as_dead(objects: Objects) -> None:
    odd = {**asdict(ClaimRecord(0, "", "", 0, "", 0.0)), "expires": "soon"}
    for data in (b"", b"{", b"\xff" * 40, seal({"attempt": 0}), seal(odd)):
        objects.put(make_claim_key("00000000", 0), data)
        with Claims(objects) as claims:
            assert claims.take("00000000") is not None
        assert objects.list_objects("claims") == {}


def test_a_claim_names_no_machine(objects: Objects) -> None:
    import socket

    with Claims(objects) as claims:
        claims.take("00000000")
        data = objects.get(make_claim_key("00000000", 0))
    assert socket.gethostname().encode() not in data


def test_claims_of_one_name_are_not_those_of_a_longer_one(objects: Objects) -> None:
    with Claims(objects) as claims:
        assert claims.take("10000000") is not None
        assert claims.take("0000000") is not None
        assert claims.take("table") is not None


HERE, NOW = claiming._hash_place(), 1000.0
HELD = ClaimRecord(0, "token", HERE, process=77, started="500", expires=NOW + 60)


@pytest.mark.parametrize(
    ("situation", "exists", "start", "live", "live_when_expired"),
    [
        ("its process is at work", True, "500", True, True),
        ("its number was given to another process", True, "501", False, False),
        ("its process has ended and is not reaped", True, "ended", False, False),
        ("its process is gone", False, "", False, False),
        ("another user's process is hidden, or there is no /proc", True, "", True, False),
    ],
)
def test_what_this_machine_shows_of_a_process_decides_and_else_the_clock(
    monkeypatch: pytest.MonkeyPatch,
    situation: str,
    exists: bool,
    start: str,
    live: bool,
    live_when_expired: bool,
) -> None:
    monkeypatch.setattr(claiming, "_process_exists", lambda _: exists)
    monkeypatch.setattr(claiming, "_read_start", lambda _: start)
    monkeypatch.setattr(time, "time", lambda: NOW)
    expired = replace(HELD, expires=NOW - 1)
    assert (HELD.is_live(), expired.is_live()) == (live, live_when_expired), situation
    unknown = replace(HELD, started="")  # its holder was shown nothing of itself
    assert (unknown.is_live(), replace(expired, started="").is_live()) == (exists, False)
    other = replace(HELD, place="elsewhere")
    assert (other.is_live(), replace(expired, place="elsewhere").is_live()) == (True, False)


@pytest.mark.parametrize("process", [0, -1, 2**22 + 1, 2**70])
def test_a_number_of_no_process_is_not_at_work(process: int) -> None:
    assert not replace(HELD, process=process, expires=time.time() + 60).is_live()


def test_a_process_that_was_not_reaped_is_not_at_work() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        zombie = replace(HELD, process=ended.pid, expires=time.time() + 60)
        assert not zombie.is_live()


def test_proc_of_another_namespace_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "readlink", lambda _: Path("4711"))
    assert claiming._read_start(os.getpid()) == ""


HIDDEN = """
import os, sys
from samcache.cache.claims import find_newest_claim
from samcache.cache.objects.location import open_objects
objects = open_objects(sys.argv[1])
claim = find_newest_claim(objects, "00000000")
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
print(os.path.exists(f"/proc/{claim.process}"), claim.is_live())
"""


def test_a_claim_of_a_process_that_proc_hides_stands(objects: Objects, tmp_path: Path) -> None:
    """As for another user on a cluster whose /proc is mounted with hidepid=2."""
    script = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
    words = ["unshare", "-m", "sh", "-c", script, "-"]
    if shutil.which("unshare") is None or subprocess.run([*words, "true"], check=False).returncode:
        pytest.skip("mounting /proc needs root")
    with Claims(objects) as claims:
        assert claims.take("00000000") is not None
        command = [*words, sys.executable, "-c", HIDDEN, str(tmp_path / "s.zarr")]
        seen = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert seen.split() == ["False", "True"]


def test_a_claim_that_another_took_over_and_gave_up_is_not_renewed(tmp_path: Path) -> None:
    objects = open_objects(tmp_path / "store")
    with Claims(objects, expiry=0.2) as claims:
        claim = claims.take("work")
        assert claim is not None
        objects.delete([make_claim_key("work", 0)])  # as the successor does when it is done
        time.sleep(0.3)
        assert find_newest_claim(objects, "work") is None
        assert not claim.is_ours()
