"""Free memory is what this process may still have, which may be less than the machine has."""

from pathlib import Path

import pytest

from samcache.cache import memory
from samcache.cache.memory import free_memory


def test_memory_is_measured() -> None:
    assert 2**20 < free_memory() < 2**50


@pytest.mark.parametrize(("limit", "expected"), [("3000000", 2_500_000), ("max", None)])
def test_a_containers_limit_counts_and_files_that_it_has_read_are_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, expected: int | None
) -> None:
    monkeypatch.setattr(memory, "_GROUP", tmp_path / "none")
    machine = free_memory()
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("2900000\n")
    (tmp_path / "memory.stat").write_text("anon 500000\ninactive_file 2400000\n")
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    assert free_memory() == pytest.approx(expected or machine, rel=0.2)
