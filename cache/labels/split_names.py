"""The words that mean a split."""

_SPLIT_NAMES = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def find_split(text: str) -> str | None:
    """The split that a word means ("valid", "Training", …), or None."""
    return _SPLIT_NAMES.get(text.strip().lower())
