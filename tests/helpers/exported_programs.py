"""Programs for tests of export that are not about the exported format."""

from pathlib import Path

import pytest

from samcache.train import export as export_module
from samcache.train.runs import program_file


@pytest.fixture
def not_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs are the modules themselves: torch and onnx need seconds to write one."""

    def write(exportable: program_file.Exportable, path: Path, _style: str) -> program_file.Program:
        path.write_bytes(b"program")
        return exportable.module

    monkeypatch.setattr(export_module, "write_program", write)
