"""``import samcache``: quick, without torch, and with the names that editors see."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from documented_commands import ROOT
from store_content import full_store

import samcache

IMPORT = """
import sys, time
begun = time.perf_counter()
import samcache
seconds = time.perf_counter() - begun
assert not {"torch", "numpy", "zarr"} & set(sys.modules)
print(repr(samcache.open(sys.argv[1])), samcache.open(sys.argv[1]).arrays("neck")[0].sum())
assert "torch" not in sys.modules
sys.exit(seconds > 0.2)
"""


def test_importing_is_quick_and_a_store_is_read_without_torch(tmp_path: Path) -> None:
    store = full_store(tmp_path / "s.zarr").location
    code = [sys.executable, "-c", IMPORT, store]
    done = subprocess.run(code, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_names_that_editors_see_are_those_that_python_finds() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))  # TYPE_CHECKING
    seen = {
        alias.asname: f"samcache.{node.module}.{alias.name}".replace(
            "samcache.samcache", "samcache"
        )
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert {*seen, "__version__"} == set(samcache.__all__)
    assert set(samcache.__all__) <= set(dir(samcache))
    for name, path in seen.items():
        module, _, own = path.rpartition(".")
        assert getattr(samcache, name) is getattr(sys.modules[module], own), name
    assert samcache.__version__.count(".") == 2


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        _ = samcache.opne  # type: ignore[attr-defined]
