"""samcache's own store among the formats: as ``train`` reads it, and row by row."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from formats import Epoch, Features, Format, in_random_order
from torch import Tensor

from samcache.cache.care.stage import find_stage_root, stage_store
from samcache.cache.commit import commit_shard
from samcache.cache.create import create_store
from samcache.cache.format.description import Dataset, Description
from samcache.cache.format.identity import Identity
from samcache.cache.format.layout import make_feature_path
from samcache.cache.objects.location import open_objects
from samcache.cache.rows import RowReader
from samcache.cache.store import ShardContent, Store
from samcache.train.data.residency import allocate

SHARD_ROWS = 64
NAME = "features.zarr"


class Samcache(Format):
    """What ``train`` does: every shard is read once, checked, and batches come from memory."""

    title = "samcache, in memory (what train does)"
    note = "every checksum checked"
    remote = "staged on the local disk, then as there"
    residency = "memory"

    def write(self, features: Features, folder: Path) -> None:
        shapes = {level: values.shape[1:] for level, values in features.maps.items()}
        identity = Identity("vit_t", "0" * 64, "sam", 1024, 0, tuple(shapes), 4)
        classes = tuple(map(str, range(int(features.labels.max()) + 1)))
        made = Description(identity, Dataset("peers", classes, "source"), SHARD_ROWS, shapes)
        ids = [f"{row:06d}" for row in range(len(features.labels))]
        table = pd.DataFrame({"id": ids, "label": features.labels, "split": "train", "group": ""})
        place = folder / NAME
        store = create_store(place, open_objects(place), made, table)
        blocks = {
            make_feature_path(level): values[:, None] for level, values in features.maps.items()
        }
        channels = sum(shape[0] for shape in shapes.values())
        blocks["statistics"] = np.zeros((len(ids), 2, channels), np.float32)
        for shard in range(store.layout.shards):
            start, stop = store.layout.find_rows(shard)
            part = {path: values[start:stop] for path, values in blocks.items()}
            commit_shard(store, shard, ShardContent(part, ("0" * 64,) * (stop - start), {}))

    def open(self, location: str) -> Epoch:
        store = stage_store(Store(f"{location}/{NAME}"))
        maps = {}
        for level, shape in store.layout.level_shapes.items():
            full = (store.layout.rows, *shape)
            if self.residency == "memory":
                values = store.read_features(level, 0, store.layout.rows)
                maps[level] = torch.from_numpy(values[:, 0])
                continue
            find_stage_root().mkdir(parents=True, exist_ok=True)
            maps[level] = allocate(full, torch.float16, self.residency, torch.device("cpu"))
            for shard in store.commits:
                start, stop = store.layout.find_rows(shard)
                values = store.read_features(level, start, stop)
                maps[level][start:stop] = torch.from_numpy(values[:, 0])

        def read(rows: np.ndarray) -> dict[str, Tensor]:
            places = torch.from_numpy(rows)
            return {level: values[places] for level, values in maps.items()}

        return in_random_order(store.table["label"].to_numpy(np.int64), read)


class SamcacheOnDisk(Samcache):
    """``train --residency disk``: checked once, then batches come from a memory-mapped file."""

    title = "samcache, --residency disk"
    source = "samcache"
    residency = "disk"


class SamcacheRows(Format):
    """No copy at all: each row from its place in its shard, its checksum checked every time."""

    title = "samcache, RowReader"
    note = "every row's checksum checked at every read"
    source = "samcache"
    remote = "ranges of the shards"

    def open(self, location: str) -> Epoch:
        store = Store(f"{location}/{NAME}")
        reader = RowReader(store, [make_feature_path(level) for level in store.identity.levels])

        def read(rows: np.ndarray) -> dict[str, Tensor]:
            return {
                path.rpartition("/")[2]: torch.from_numpy(values[:, 0])
                for path, values in reader.read(rows).items()
            }

        return in_random_order(store.table["label"].to_numpy(np.int64), read)
