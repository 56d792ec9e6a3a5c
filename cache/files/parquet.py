"""Parquet tables, refused where they would unpack to more than the memory holds."""

from pathlib import Path

import pandas as pd

from samcache.cache.errors import SourceError
from samcache.cache.memory import free_memory
from samcache.cache.text import describe_bytes

_VALUE = 256  # bytes of a value as text in a table; a few bytes of a file stand for millions


def read_parquet(path: Path) -> pd.DataFrame:
    """Every column as text, "" where a value is missing.

    Raises SourceError for a file that claims more than fits into the free memory, ImportError
    without pyarrow, and pyarrow's ValueError or OSError for a damaged file.
    """
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        claimed = file.metadata
        groups = [claimed.row_group(place) for place in range(claimed.num_row_groups)]
    values = claimed.num_rows * claimed.num_columns * _VALUE
    need = max(values, 4 * sum(group.total_byte_size for group in groups))
    free = free_memory()
    if need > free:
        raise SourceError(
            f"{path} has {claimed.num_rows} rows, which need about {describe_bytes(need)} of "
            f"memory, and {describe_bytes(free)} are free: split the table"
        )
    return pd.read_parquet(path).astype("string").fillna("").astype(str)
