"""Which question a training answers: the store's own labels, or columns of a table."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from samcache.cache.errors import ConfigError

KindName = Literal["class", "multilabel", "ordinal", "number"]
LossName = Literal["cross-entropy", "corn", "huber", "squared"]

# they name columns of the table of labels, or columns that the store keeps of a manifest
_COLUMNS = ("target", "split_column", "group_column", "by", "folds_by")


@dataclass(frozen=True)
class TaskOptions:
    """The options of a question; without a table, to the labels and columns that the store has.

    key: "id", "case" or "sha256", each also as "id=COLUMN", or a column that holds ids.
    """

    labels: Path | None = None  # a table: CSV, TSV or Parquet
    target: tuple[str, ...] = ()  # its columns with the answer
    key: str | None = None
    splits: Path | None = None  # a table with a key and a column split
    split_column: str | None = None
    kind: KindName | None = None
    order: tuple[str, ...] = ()  # of grades, the lowest first
    ordered: bool = False  # the classes are grades in their order: kappa is reported too
    unit: str = ""  # of a number
    loss: LossName | None = None  # None: the first of the kind's
    group_column: str | None = None  # with the patient, or what else must stay together
    by: tuple[str, ...] = ()  # columns whose values are subgroups
    folds_by: str | None = None  # a column each of whose values is held out once

    def __post_init__(self) -> None:
        """Raises ConfigError for options that exclude each other."""
        if self.labels is None and self.key is not None:
            raise ConfigError(
                "key names a column of a table of labels, and none is given", hint="key labels"
            )
        if self.splits is not None and self.split_column is not None:
            raise ConfigError(
                "splits come from a table of their own or from a column: give one of the two",
                hint="splits split_column",
            )
        if self.order and self.kind not in (None, "ordinal"):
            raise ConfigError(
                f"an order is one of grades, and the kind is {self.kind}: leave one of the two out",
                hint="order kind",
            )

    @property
    def names_columns(self) -> bool:
        """Whether columns are asked for, of a table or of those that the store keeps."""
        return any(getattr(self, name) for name in _COLUMNS)

    def to_json(self) -> dict[str, Any]:
        """The options that are not at their default, but for ordered, as plain values."""
        plain = TaskOptions()
        found = {name: value for name, value in vars(self).items() if value != getattr(plain, name)}
        found.pop("ordered", None)  # config.json has it beside the options of the training
        return {name: str(v) if isinstance(v, Path) else v for name, v in found.items()}


STORE_LABELS = TaskOptions()
