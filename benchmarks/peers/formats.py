"""The same features kept by seven kinds of store: how each is written, and read in random order.

A location is a folder, or a prefix in a bucket whose endpoint and credentials are in the
environment. Every reader gives, for a seed, the batches of one shuffled epoch: five levels' maps
(B, C, h, w) float16 and labels (B,) int64, as torch tensors, in one process.
"""

import functools
import io
import json
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

BATCH = 64
Batch = tuple[dict[str, Tensor], Tensor]
Epoch = Callable[[int], Iterator[Batch]]
ByRows = Callable[[np.ndarray], dict[str, Tensor]]


@dataclass(frozen=True)
class Features:
    """What all of them keep: maps, level -> (n, C, h, w) float16; labels, (n,) int64."""

    maps: dict[str, np.ndarray]
    labels: np.ndarray


class Format(ABC):
    """One way to keep features."""

    title: str
    note = ""
    source = ""  # the format whose files this one reads; empty: its own
    remote = ""  # how it reads from a bucket; empty: it does not

    def prepare(self, features: Features, scratch: Path) -> Any:  # noqa: ARG002
        """What ``write`` is given, where that is not the features themselves; not counted."""
        return features

    def write(self, features: Any, folder: Path) -> None:
        """Write everything below an empty folder."""
        raise NotImplementedError

    @abstractmethod
    def open(self, location: str) -> Epoch:
        """Open what was written; gives the function that makes an epoch's batches from a seed."""


def in_random_order(labels: np.ndarray, read: ByRows) -> Epoch:
    """Epochs of a format that can give any rows."""

    def epoch(seed: int) -> Iterator[Batch]:
        order = np.random.default_rng(seed).permutation(len(labels))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            yield read(rows), torch.from_numpy(labels[rows])

    return epoch


@functools.cache  # for its connections
def bucket(location: str):
    """obstore's store for a location in a bucket."""
    from obstore.store import from_url

    return from_url(location, client_options={"allow_http": True})


def fetch(location: str, name: str) -> bytes:
    """One file of a location."""
    if "://" not in location:
        return (Path(location) / name).read_bytes()
    return bytes(bucket(location).get(name).bytes())


def local_copy(location: str, names: list[str]) -> Path:
    """The folder itself, or a temporary one to which files of a bucket were brought."""
    if "://" not in location:
        return Path(location)
    folder = Path(tempfile.mkdtemp(dir=os.environ["PEERS_STAGE"]))
    for name in names:
        (folder / name).write_bytes(fetch(location, name))
    return folder


class FilePerSample(Format):
    """kaiko-eva's way: ``torch.save`` of a list of tensors a sample, and a manifest."""

    title = ".pt file a sample (kaiko-eva)"
    remote = "each file by obstore, then torch.load"

    def write(self, features: Features, folder: Path) -> None:
        lines = ["embeddings,target"]
        for row, label in enumerate(features.labels):
            maps = [torch.from_numpy(values[row].copy()) for values in features.maps.values()]
            torch.save(maps, folder / f"{row:06d}.pt")
            lines.append(f"{row:06d}.pt,{label}")
        (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
        (folder / "levels.json").write_text(json.dumps(list(features.maps)))

    def open(self, location: str) -> Epoch:
        lines = fetch(location, "manifest.csv").decode().split()[1:]
        names, labels = zip(*(line.split(",") for line in lines), strict=True)
        levels = json.loads(fetch(location, "levels.json"))

        def load(name: str) -> list[Tensor]:
            if "://" in location:
                return torch.load(io.BytesIO(fetch(location, name)))
            return torch.load(f"{location}/{name}")

        def read(rows: np.ndarray) -> dict[str, Tensor]:
            samples = [load(names[row]) for row in rows]
            stacked = map(torch.stack, zip(*samples, strict=True))
            return dict(zip(levels, stacked, strict=True))

        return in_random_order(np.array(labels, np.int64), read)


class Hdf5(Format):
    """TRIDENT's and featureforest's: one file, one chunk a sample; not compressed, as TRIDENT's."""

    title = "HDF5, chunk a sample (TRIDENT, featureforest)"
    remote = "h5py on obstore's fsspec file"
    file = "features.h5"

    def write(self, features: Features, folder: Path) -> None:
        import h5py

        with h5py.File(folder / self.file, "w") as file:
            for level, values in features.maps.items():
                file.create_dataset(level, data=values, chunks=(1, *values.shape[1:]))
            file.attrs["levels"] = list(features.maps)
            file["labels"] = features.labels

    def open(self, location: str) -> Epoch:
        import h5py

        if "://" in location:
            from obstore.fsspec import FsspecStore

            scheme, _, path = location.partition("://")
            handle = FsspecStore(scheme, client_options={"allow_http": True})
            file = h5py.File(handle.open(f"{path}/{self.file}"))
        else:
            file = h5py.File(Path(location) / self.file)
        data = {str(level): file[level] for level in file.attrs["levels"]}

        def read(rows: np.ndarray) -> dict[str, Tensor]:
            found = {}
            for level, values in data.items():
                out = np.empty((len(rows), *values.shape[1:]), values.dtype)
                for place, row in enumerate(rows):
                    values.read_direct(out, np.s_[row], np.s_[place])
                found[level] = torch.from_numpy(out)
            return found

        return in_random_order(file["labels"][:], read)


class ZarrPython(Format):
    """zarr-python with its own codecs: an array a level, one uncompressed chunk a sample."""

    title = "zarr-python, chunk a sample"
    remote = "zarr's ObjectStore"

    def write(self, features: Features, folder: Path) -> None:
        import zarr

        root = zarr.create_group(folder / "features.zarr")
        for level, values in features.maps.items():
            root.create_array(level, data=values, chunks=(1, *values.shape[1:]), compressors=None)
        root.create_array("labels", data=features.labels)

    def open(self, location: str) -> Epoch:
        import zarr
        from zarr.storage import ObjectStore

        place: Any = f"{location}/features.zarr"
        if "://" in location:
            place = ObjectStore(bucket(place), read_only=True)
        root = zarr.open_group(place, mode="r")
        arrays = {name: root[name] for name in root.array_keys() if name != "labels"}

        def read(rows: np.ndarray) -> dict[str, Tensor]:
            # orthogonal selection, which zarr-python spreads over its own threads
            return {name: torch.from_numpy(array.oindex[rows]) for name, array in arrays.items()}

        return in_random_order(root["labels"][:], read)


class LitData(Format):
    """LitData's optimised chunks of 64 MB, read in its own shuffled order."""

    title = "LitData chunks"
    note = "shuffles within a window of chunks, not over all samples"
    remote = "its own S3 client; chunks are cached on the local disk"

    def prepare(self, features: Features, scratch: Path) -> list[tuple[str, int]]:
        for level, values in {**features.maps, "labels": features.labels}.items():
            np.save(scratch / f"{level}.npy", values)
        return [(str(scratch), row) for row in range(len(features.labels))]

    def write(self, features: list[tuple[str, int]], folder: Path) -> None:
        import litdata

        with redirect_stdout(io.StringIO()):
            litdata.optimize(
                one_sample, features, str(folder), chunk_bytes="64MB", num_workers=1, verbose=False
            )

    def open(self, location: str) -> Epoch:
        import litdata

        options, cache = {}, None
        if "://" in location:
            keys = {
                "endpoint_url": "AWS_ENDPOINT_URL",
                "aws_access_key_id": "AWS_ACCESS_KEY_ID",
                "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
            }
            options = {key: os.environ[name] for key, name in keys.items()}
            cache = os.environ["PEERS_STAGE"]
            from litdata.streaming import downloader

            # its client refuses an endpoint without TLS, and has no option for it
            downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True

        def epoch(seed: int) -> Iterator[Batch]:
            data = litdata.StreamingDataset(
                location, cache, shuffle=True, seed=seed, storage_options=options
            )
            for batch in litdata.StreamingDataLoader(data, batch_size=BATCH, num_workers=0):
                labels = batch.pop("label")
                yield batch, labels

        return epoch


def one_sample(place: tuple[str, int]) -> dict[str, Tensor | int]:
    """A sample for LitData to keep."""
    folder, row = place
    arrays = {path.stem: np.load(path, mmap_mode="r") for path in Path(folder).glob("*.npy")}
    label = int(arrays.pop("labels")[row])
    maps = {level: torch.from_numpy(values[row].copy()) for level, values in arrays.items()}
    return {**maps, "label": label}


class Safetensors(Format):
    """One safetensors file; rows by its slices, which it reads through a memory map."""

    title = "safetensors, one file"
    remote = "brought to the local disk whole, first"
    file = "features.safetensors"

    def write(self, features: Features, folder: Path) -> None:
        from safetensors.numpy import save_file

        save_file({**features.maps, "labels": features.labels}, folder / self.file)

    def open(self, location: str) -> Epoch:
        from safetensors import safe_open

        file = safe_open(local_copy(location, [self.file]) / self.file, "pt")
        slices = {name: file.get_slice(name) for name in file.keys() if name != "labels"}  # noqa: SIM118

        def read(rows: np.ndarray) -> dict[str, Tensor]:
            return {
                level: torch.cat([part[row : row + 1] for row in rows.tolist()])
                for level, part in slices.items()
            }

        return in_random_order(file.get_tensor("labels").numpy(), read)


class Memmap(Format):
    """The floor: an .npy file a level, mapped to memory, rows by torch's own indexing."""

    title = ".npy memory maps (the floor)"
    note = "checks nothing"
    remote = "brought to the local disk whole, first"

    def write(self, features: Features, folder: Path) -> None:
        for name, values in {**features.maps, "labels": features.labels}.items():
            np.save(folder / f"{name}.npy", values)
        (folder / "levels.json").write_text(json.dumps(list(features.maps)))

    def open(self, location: str) -> Epoch:
        levels = json.loads(fetch(location, "levels.json"))
        names = [f"{name}.npy" for name in [*levels, "labels"]]
        folder = local_copy(location, names)
        maps = {
            level: torch.from_numpy(np.load(folder / f"{level}.npy", mmap_mode="c"))
            for level in levels
        }

        def read(rows: np.ndarray) -> dict[str, Tensor]:
            places = torch.from_numpy(rows)
            return {level: values[places] for level, values in maps.items()}

        return in_random_order(np.load(folder / "labels.npy"), read)
