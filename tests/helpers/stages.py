"""Staging small stores, for tests."""

from pathlib import Path

import pytest

from samcache.cache.care.stage import stage_store
from samcache.cache.store import Store


@pytest.fixture(autouse=True)
def stage_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of stages; no test touches the user's own."""
    folder = tmp_path / "cache" / "stage"
    monkeypatch.setenv("SAMCACHE_STAGE", str(folder))
    monkeypatch.delenv("SAMCACHE_STAGE_LIMIT", raising=False)
    return folder


def stage_it(url: str) -> tuple[Store, str]:
    """The staged store and what was said."""
    said: list[str] = []
    return stage_store(Store(url), said.append), "".join(f"{one.text}\n" for one in said)


def stages(root: Path) -> set[str]:
    return {path.name for path in root.iterdir() if path.is_dir()}


def size_of(folder: Path) -> int:
    """Bytes of a store's arrays."""
    arrays = ("features", "images", "statistics")
    return sum(
        p.stat().st_size for a in arrays for p in (folder / a).rglob("c/**/*") if p.is_file()
    )
