"""Results of the parts: JSON files that say on what machine and by what command they came."""

import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from machine import machine

FOLDER = Path(__file__).parent / "results"
PACKAGES = (
    "torch",
    "numpy",
    "zarr",
    "h5py",
    "safetensors",
    "timm",
    "segment-anything",
    "kaiko-eva",
    "litdata",
    "transformers",
)


class Results:
    """One file of results, written after every measurement, so that an interrupted part goes on."""

    def __init__(self, name: str, again: bool, note: str) -> None:
        """again: leave out what an earlier run measured; note: what a reader should know of it."""
        self.path = FOLDER / f"{name}.json"
        known = json.loads(self.path.read_text()) if self.path.exists() and not again else {}
        self.rows: dict[str, dict[str, Any]] = known.get("rows", {})
        facts = {"note": note, "machine": circumstances()}
        self.facts: dict[str, Any] = facts | known.get("facts", {})

    def row(self, key: str) -> dict[str, Any]:
        """The figures of one system, to be added to."""
        return self.rows.setdefault(key, {})

    def save(self) -> None:
        """Write all of it."""
        FOLDER.mkdir(exist_ok=True)
        content = {"facts": self.facts, "rows": self.rows}
        text = json.dumps(content, indent=1, ensure_ascii=False)
        self.path.write_text(text + "\n", encoding="utf-8")


def circumstances() -> dict[str, Any]:
    """Where and with what a part ran."""
    import torch

    return machine() | {
        "threads": torch.get_num_threads(),
        "load_at_start": round(os.getloadavg()[0], 1),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)
