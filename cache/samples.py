"""The sample table: one row per image, in the order of the feature arrays' first axis."""

import numpy as np
import pandas as pd
import zarr
from zarr.codecs import Crc32cCodec

from samcache.cache.errors import StoreError
from samcache.cache.layout import read_rows

COLUMNS = ("id", "label", "split", "group")
SPLITS = ("train", "val", "test")


def write_samples(root: zarr.Group, samples: pd.DataFrame) -> None:
    """Write the columns id, label, split and group as checksummed arrays of one chunk each."""
    for column in COLUMNS:
        values = samples[column].to_numpy()
        kind: type = np.int64 if column == "label" else str
        array = root.create_array(
            f"samples/{column}",
            shape=values.shape,
            chunks=(max(1, len(values)),),
            dtype=kind,
            compressors=[Crc32cCodec()],
            dimension_names=("sample",),
        )
        array[:] = values.astype(np.int64 if column == "label" else object)


def read_samples(root: zarr.Group, rows: int) -> pd.DataFrame:
    """Read the table that ``write_samples`` wrote; raises StoreError where it is damaged."""
    columns = {}
    for column in COLUMNS:
        columns[column] = read_rows(root, f"samples/{column}", 0, rows)
        if columns[column].shape != (rows,):
            raise StoreError(f"samples/{column} should hold {rows} values: the store is damaged")
    table = pd.DataFrame({name: values.astype(object) for name, values in columns.items()})
    return table.astype({"label": np.int64})


def describe_difference(stored: pd.DataFrame, given: pd.DataFrame) -> str | None:
    """Say in a few words how two tables differ; None where they are equal."""
    if len(stored) != len(given):
        return f"{len(stored)} samples in the store, {len(given)} in the source"
    for column in COLUMNS:
        differs = (stored[column].to_numpy() != given[column].to_numpy()).nonzero()[0]
        if len(differs):
            row = int(differs[0])
            before, after = stored[column].iloc[row], given[column].iloc[row]
            return (
                f"{column} differs in {len(differs)} samples, first in row {row}: "
                f"{before!r} in the store, {after!r} in the source"
            )
    return None
