"""Inputs that several tests share."""

from pathlib import Path

import pytest
from tiny_encoder import save_tiny_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the tiny encoder."""
    return save_tiny_checkpoint(tmp_path_factory.mktemp("weights") / "tiny.pth")
