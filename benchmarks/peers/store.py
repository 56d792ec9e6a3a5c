"""Part 1: the same features kept by samcache and by others; written, read in random order, over S3.

    python benchmarks/peers/run.py store --store STORE.zarr [--repeats 5] [--s3 1]

STORE is a finished samcache store, whose features and labels all formats are given. Every
measurement is a process of its own, in which all is imported already; systems take turns. Cold:
the files' pages are dropped from the system's cache first.
"""

import argparse
import http.client
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
os.environ["LITDATA_DISABLE_VERSION_CHECK"] = "1"
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1] / "tests" / "helpers")]

# all that any format needs, imported before the first copy is made
import h5py  # noqa: E402, F401
import litdata  # noqa: E402, F401
import numpy as np  # noqa: E402
import obstore.fsspec  # noqa: E402, F401
import safetensors.numpy  # noqa: E402, F401
import torch  # noqa: E402
import zarr  # noqa: E402, F401
from bench_encoder import kibibytes  # noqa: E402
from forked import in_a_copy  # noqa: E402
from formats import (  # noqa: E402  # noqa: E402
    Features,
    FilePerSample,
    Format,
    Hdf5,
    LitData,
    Memmap,
    Safetensors,
    ZarrPython,
    bucket,
)
from results import Results, say  # noqa: E402
from samcache_formats import Samcache, SamcacheOnDisk, SamcacheRows  # noqa: E402

from samcache.cache.store import Store  # noqa: E402

FORMATS: dict[str, Format] = {
    "samcache": Samcache(),
    "samcache-disk": SamcacheOnDisk(),
    "samcache-rows": SamcacheRows(),
    "pt": FilePerSample(),
    "hdf5": Hdf5(),
    "zarr": ZarrPython(),
    "litdata": LitData(),
    "safetensors": Safetensors(),
    "memmap": Memmap(),
}
EPOCHS = 3
PATIENCE = 10.0  # seconds of reading after which no further epoch is begun
BUCKET = "peers"


def main() -> None:
    """Measure what is not measured yet."""
    options = arguments()
    opened = Store(options.store)
    data, px = options.data or opened.dataset.name, opened.identity.image_size
    results = Results(f"store-{data}-{px}", options.again, options.note)
    named = f"--data {data} " if options.data else ""
    command = f"run.py store {named}--repeats {options.repeats} --s3 {options.s3}"
    results.facts |= {"data": data, "px": px, "command": command}
    work = options.work / results.path.stem
    work.mkdir(parents=True, exist_ok=True)
    write_all(results, work, options.store)
    if "checked" not in results.facts:
        check_contents(work)
        results.facts["checked"] = sorted(FORMATS)
    for repeat in range(options.repeats):
        for key in FORMATS:
            for state in ("cold", "warm"):
                measure_read(results, work, key, state, repeat)
    if options.s3:
        over_s3(results, work, options.s3)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", required=True, help="finished samcache store")
    parser.add_argument("--work", type=Path, required=True, help="folder for everything written")
    parser.add_argument("--data", help="what the page calls it  [default: as the store]")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--s3", type=int, default=0, help="rounds over loopback S3")
    parser.add_argument("--again", action="store_true", help="forget earlier results")
    parser.add_argument("--note", default="", help="kept with the results")
    return parser.parse_args()


def write_all(results: Results, work: Path, store: str) -> None:
    """Let every format write the features, each into a folder of its own."""
    own = [key for key, form in FORMATS.items() if not form.source]
    results.facts["samples"] = in_a_copy(sample_count, store)
    for key in own:
        folder = work / key
        if folder.exists() and "write_s" in results.row(key):
            continue
        shutil.rmtree(folder, ignore_errors=True)
        row = results.row(key)
        row |= {"title": FORMATS[key].title, **in_a_copy(write, key, store, str(folder))}
        say(f"write {key:<14} {row['write_s']:7.2f} s  {row['files']} files")
        results.save()


def sample_count(store: str) -> int:
    """Readable samples of a store."""
    return int((Store(store).samples["status"] == "ok").sum())


def features_of(store: str) -> Features:
    """Every readable sample's maps and label."""
    opened = Store(store)
    table = opened.samples
    table = table[table["status"] == "ok"]
    rows = table["row"].to_numpy()
    maps = {
        level: np.ascontiguousarray(opened.read_features(level, 0, opened.layout.rows)[rows, 0])
        for level in opened.identity.levels
    }
    return Features(maps, table["label"].to_numpy(np.int64))


def write(key: str, store: str, folder: str) -> dict[str, Any]:
    """Seconds until all is written and flushed to disk, bytes and files."""
    features, place = features_of(store), Path(folder)
    place.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        source = FORMATS[key].prepare(features, Path(scratch))
        started = time.perf_counter()
        FORMATS[key].write(source, place)
        for path in files_of(place):
            flush(path)
        seconds = time.perf_counter() - started
    sizes = [path.stat().st_size for path in files_of(place)]
    return {"write_s": seconds, "bytes": sum(sizes), "files": len(sizes)}


def files_of(folder: Path) -> list[Path]:
    """Every file below a folder."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def flush(path: Path, forget: bool = False) -> None:
    """Force a file to disk; ``forget``: drop its pages from the system's cache, too."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        if forget:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def measure_read(results: Results, work: Path, key: str, state: str, repeat: int) -> None:
    """One process that opens a format and reads epochs, its files in the cache or not."""
    row = results.row(key)
    runs = row.setdefault(state, [])
    if len(runs) > repeat:
        return
    folder = work / (FORMATS[key].source or key)
    for path in files_of(folder):
        if state == "cold":
            flush(path, forget=True)
        else:
            path.read_bytes()
    runs.append(in_a_copy(read, key, str(folder)))
    row |= {"title": FORMATS[key].title, "note": FORMATS[key].note}
    results.save()
    told(key, state, runs[-1])


def told(key: str, state: str, run: dict[str, Any]) -> None:
    """One line of progress."""
    rates = " ".join(f"{rate:.0f}" for rate in run["samples_s"])
    say(f"{state} {key:<14} first batch {run['first_batch_s']:.3f} s, samples/s {rates}")


def read(key: str, location: str) -> dict[str, Any]:
    """Seconds from opening to the first batch; samples/s of each epoch; memory; a sum of it all."""
    status, remote = Path("/proc/self/status"), "://" in location
    torch.zeros(1 << 20).add_(1)  # starts its threads
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak
    before = {name: kibibytes(status, name) for name in ("VmRSS", "RssAnon")}
    started = time.perf_counter()
    epoch = FORMATS[key].open(location)
    opened, first, rates = time.perf_counter() - started, 0.0, []
    for seed in range(1 if remote else EPOCHS):
        if seed and time.perf_counter() - started > PATIENCE:
            break
        began, count = time.perf_counter(), 0
        for _, labels in epoch(seed):
            if not first:
                first = time.perf_counter() - started
            count += len(labels)
            if remote and time.perf_counter() - started > PATIENCE:
                break  # the rate is known
        rates.append(count / (time.perf_counter() - began))
    peak = kibibytes(status, "VmHWM") - before["VmRSS"]
    private = kibibytes(status, "RssAnon") - before["RssAnon"]
    figures = {"open_s": opened, "first_batch_s": first, "samples_s": rates}
    memory = {"peak_MiB": peak / 1024, "private_MiB": private / 1024}
    return {**figures, **memory}


def check(key: str, location: str) -> dict[str, int]:
    """Sums over an epoch that no order changes: of the values' bits by level, and of labels."""
    sums: dict[str, int] = {"labels": 0}
    for maps, labels in FORMATS[key].open(location)(0):
        sums["labels"] += int(labels.sum())
        for level, values in maps.items():
            bits = values.contiguous().view(torch.int16)
            sums[level] = sums.get(level, 0) + int(bits.sum(dtype=torch.int64))
    return dict(sorted(sums.items()))


def check_contents(work: Path) -> None:
    """All formats must hand out the same numbers."""
    sums = {
        key: in_a_copy(check, key, str(work / (form.source or key)))
        for key, form in FORMATS.items()
    }
    odd = [key for key in sums if sums[key] != sums["memmap"]]
    assert not odd, f"other numbers than the memory map's: {odd}"


def over_s3(results: Results, work: Path, repeats: int) -> None:
    """The same files in a bucket of moto's server on this machine, local copies thrown away."""
    from servers import s3_serving

    with s3_serving() as address:
        os.environ |= {
            "AWS_ENDPOINT_URL": f"http://{address}",
            "AWS_ACCESS_KEY_ID": "example",
            "AWS_SECRET_ACCESS_KEY": "example",
            "AWS_REGION": "us-east-1",
        }
        connection = http.client.HTTPConnection(address)
        connection.request("PUT", f"/{BUCKET}")
        assert connection.getresponse().status == 200
        in_a_copy(upload, work)
        for repeat in range(repeats):
            for key in FORMATS:
                measure_s3(results, work, key, repeat)


def upload(work: Path) -> None:
    """Every format's files."""
    target = bucket(f"s3://{BUCKET}")
    for key, form in FORMATS.items():
        for path in files_of(work / key) if not form.source else ():
            target.put(path.relative_to(work).as_posix(), path.read_bytes())


def measure_s3(results: Results, work: Path, key: str, repeat: int) -> None:
    """One process that reads a format from the bucket, with nothing of it on the local disk."""
    row = results.row(key)
    runs = row.setdefault("s3", [])
    if len(runs) > repeat:
        return
    with tempfile.TemporaryDirectory(dir=work) as stage:
        os.environ |= {"SAMCACHE_STAGE": stage, "PEERS_STAGE": stage}
        runs.append(in_a_copy(read, key, f"s3://{BUCKET}/{FORMATS[key].source or key}"))
    row["remote"] = FORMATS[key].remote
    results.save()
    told(key, "s3", runs[-1])


if __name__ == "__main__":
    main()
