"""The doctor says what is there, and what to do about what is not."""

from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch
from store_content import full_store

from samcache.cache.files.digest import hash_file
from samcache.commands.show.extraction import make_findings_table
from samcache.extract import doctor
from samcache.extract.doctor import Finding, examine_machine
from samcache.extract.encoders.base import OfficialFile
from samcache.extract.encoders.networks import vit


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of torch's."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


def about(findings: list[Finding], subject: str) -> Finding:
    (found,) = [one for one in findings if one.subject == subject]
    return found


def test_every_required_package_is_looked_at() -> None:
    findings = examine_machine((), ())
    for name in ("torch", "zarr", "obstore", "h5py", "Python"):
        assert about(findings, name).ok
    assert "mypy" not in {one.subject for one in findings}, "an extra's"


def test_a_missing_or_old_package_comes_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "zarr":
            raise PackageNotFoundError
        return "0.0.1"

    monkeypatch.setattr(doctor, "version", version)
    findings = examine_machine((), ())
    assert about(findings, "zarr") == Finding("zarr", "not installed", "pip install 'zarr>=3.1.6'")
    assert about(findings, "obstore").advice == "pip install 'obstore>=0.12.1'"


def test_checkpoints_are_known_by_their_hash_and_not_by_their_name(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "renamed.bin"
    given.write_bytes(b"weights")
    official = OfficialFile("sam.pth", hash_file(given))
    offered = replace(vit.ARCHITECTURES["vit_b"], official=official)
    monkeypatch.setitem(vit.ARCHITECTURES, "vit_b", offered)
    (hub / "sam.pth").write_bytes(b"cut short")
    findings = examine_machine((given, tmp_path / "none.pth"), ())
    assert about(findings, "renamed.bin") == Finding("renamed.bin", "sam.pth of vit_b")
    assert about(findings, "sam.pth").advice == f"delete {hub / 'sam.pth'}"
    assert about(findings, "none.pth").advice == "check the path"


def test_a_store_is_reached_or_the_reason_told(tmp_path: Path) -> None:
    full_store(tmp_path / "s.zarr")
    findings = examine_machine((), (str(tmp_path / "s.zarr"), "ftp://host/x"))
    assert about(findings, str(tmp_path / "s.zarr")).ok
    assert "unknown" in about(findings, "ftp://host/x").advice


def test_little_memory_and_disk_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_LITTLE_MEMORY", 1e18)
    monkeypatch.setattr(doctor, "_LITTLE_DISK", 1e18)
    findings = examine_machine((), ())
    assert "batches of 1 image" in about(findings, "processor").advice
    assert "TORCH_HOME" in about(findings, "checkpoints").advice
    assert make_findings_table(findings).row_count > len(findings)
