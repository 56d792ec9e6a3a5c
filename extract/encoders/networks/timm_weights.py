"""Download the published weights of a timm model, and verify the file before it is used."""

import logging
import re
from itertools import product
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    LocalEntryNotFoundError,
)
from timm.models import get_pretrained_cfg

from samcache.cache.errors import CheckpointError
from samcache.cache.files.digest import hash_file

_FILES = ("model.safetensors", "pytorch_model.bin")  # as timm names them on the hub
_HASH = re.compile(r"-([0-9a-f]{8,64})\.", re.ASCII)  # in a file's name, as torch's hub has it
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


def fetch_weights(name: str) -> Path | None:
    """The file that timm takes for a model with a tag, downloaded once; None where there is none.

    From the Hugging Face hub (the file's SHA-256 must be the hub's), or from a URL whose file has
    the beginning of its SHA-256 in its name. Raises CheckpointError where the file can be neither
    found nor downloaded, or is not the published one.
    """
    facts = get_pretrained_cfg(name)
    if facts is None:
        return None
    if facts.hf_hub_id:
        return _fetch_from_hub(facts.hf_hub_id, facts.hf_hub_filename)
    url = facts.url if isinstance(facts.url, str) else ""
    return _fetch_from_url(url) if url and not facts.custom_load else None


def _fetch_from_hub(repository: str, file: str | None) -> Path:
    place, _, revision = repository.partition("@")
    files = (Path(file).with_suffix(".safetensors").name, file) if file else _FILES
    page = f"https://huggingface.co/{place}"
    # the client reports each attempt without a network
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    # what is here comes first: without a network, each request takes half a minute to fail
    for here, each in product((True, False), dict.fromkeys(files)):
        try:
            path = Path(
                hf_hub_download(place, each, revision=revision or None, local_files_only=here)
            )
        except LocalEntryNotFoundError:
            if here:
                continue
            break  # no network
        except EntryNotFoundError:
            continue  # the repository has no such file
        except GatedRepoError:
            raise CheckpointError(
                f"{page} asks you to accept its terms first: accept them there, get {each} and "
                "give the file as the checkpoint",
                hint="checkpoint",
            ) from None
        except Exception:  # the client raises errors of its own, and those of two libraries
            break
        _verify_hub_file(path, page)
        return path
    raise _describe_failure(files[0], page)


def _verify_hub_file(path: Path, page: str) -> None:
    """The hub's client keeps a large file under its SHA-256, and links to it."""
    expected = path.resolve().name
    if not _SHA256.fullmatch(expected):
        raise CheckpointError(
            f"{path} has no known SHA-256: compare it with {page}, and give the file as the "
            "checkpoint",
            hint="checkpoint",
        )
    if hash_file(path) != expected:
        raise CheckpointError(
            f"{path} is damaged: expected SHA-256 {expected[:12]}…; delete {path.resolve()} and "
            "run the command again to download it"
        )


def _fetch_from_url(url: str) -> Path:
    file = Path(urlparse(url).path).name
    begin = _HASH.search(file)
    if begin is None:
        raise CheckpointError(
            f"{url} has no hash to verify it by: get the file yourself and give it as the "
            "checkpoint",
            hint="checkpoint",
        )
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=begin[1], progress=False)
        except (URLError, OSError, TimeoutError):
            raise _describe_failure(file, url) from None
        except RuntimeError:  # what torch raises for a wrong hash
            raise CheckpointError(f"download of {url} is damaged: run the command again") from None
    if not hash_file(path).startswith(begin[1]):
        raise CheckpointError(
            f"{path} is damaged: expected SHA-256 {begin[1]}…; delete it and run the command again "
            "to download it"
        )
    return path


def _describe_failure(file: str, where: str) -> CheckpointError:
    return CheckpointError(
        f"cannot download {file} from {where}: check the network, or get the file on another "
        "machine and give it as the checkpoint",
        hint="checkpoint",
    )
