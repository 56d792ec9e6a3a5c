"""Without being told, a run computes in what its device is made for and its store was begun in."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_extraction import Extract

from samcache.cache.errors import ConfigError, StoreError
from samcache.extract.encoders.precision import multiplies_bfloat16, resolve_precision
from samcache.extract.options import ExtractOptions
from samcache.extract.sources.base import Source
from samcache.extract.target import Target, prepare_target

CPU = torch.device("cpu")


@pytest.fixture(params=[True, False], ids=["made for it", "not made for it"])
def made_for_it(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the device is made for bfloat16."""
    has: bool = request.param
    monkeypatch.setattr("samcache.extract.encoders.precision.multiplies_bfloat16", lambda _: has)
    return has


def test_a_new_store_is_made_in_what_the_device_is_made_for(
    run_extract: Extract, made_for_it: bool
) -> None:
    store, _ = run_extract(precision="auto")
    assert store.identity.precision == ("bfloat16" if made_for_it else "float32")


@pytest.mark.usefixtures("made_for_it")
def test_a_store_in_float32_is_gone_on_with_on_every_device(run_extract: Extract) -> None:
    begun, _ = run_extract(precision="float32", limit=5)
    store, summary = run_extract(precision="auto")
    assert summary.encoded == len(store.samples) - 5
    assert store.fingerprint == begun.fingerprint


@pytest.mark.parametrize("first", ["float32", "bfloat16"])
def test_of_machines_that_begin_together_the_first_decides_or_the_others_are_refused(
    run_extract: Extract, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """One has AMX and one has not: the other begins the store once this one is prepared."""
    has_amx = first == "float32"
    monkeypatch.setattr(
        "samcache.extract.encoders.precision.multiplies_bfloat16", lambda _: has_amx
    )

    def outrun(options: ExtractOptions, source: Source) -> Target:
        prepared = prepare_target(options, source)
        with monkeypatch.context() as other:
            other.setattr("samcache.extract.run.prepare_target", prepare_target)
            run_extract(precision=first, limit=5)
        return prepared

    monkeypatch.setattr("samcache.extract.run.prepare_target", outrun)
    if first == "bfloat16":
        with pytest.raises(StoreError, match="precision is 'bfloat16' in the store, 'float32'"):
            run_extract(precision="auto")
        return
    store, summary = run_extract(precision="auto")
    assert store.identity.precision == "float32"
    assert summary.encoded == len(store.samples) - 5


@pytest.mark.usefixtures("made_for_it")
def test_what_was_encoded_in_float32_is_copied_on_every_device(run_extract: Extract) -> None:
    known, _ = run_extract("known", precision="float32")
    _, summary = run_extract("new", precision="auto", reuse=(known.location,))
    assert (summary.encoded, summary.copied) == (0, 40)


def test_a_store_in_bfloat16_asks_a_device_that_is_slow_in_it_to_be_told(
    run_extract: Extract, made_for_it: bool
) -> None:
    run_extract(precision="bfloat16", limit=5)
    if made_for_it:
        assert run_extract(precision="auto")[0].identity.precision == "bfloat16"
        return
    with pytest.raises(StoreError, match="made with other settings: precision"):
        run_extract(precision="auto")
    assert run_extract(precision="bfloat16")[0].identity.precision == "bfloat16"


@pytest.mark.usefixtures("made_for_it")
def test_what_is_asked_for_is_taken(tmp_path: Path) -> None:
    for precision in ("float32", "bfloat16", "float16"):
        assert resolve_precision(precision, CPU) == precision
    resolve_precision("auto", CPU, [tmp_path / "none.zarr"])
    assert not (tmp_path / "none.zarr").exists(), "asking makes no folder"


def test_a_gpu_is_asked_whether_it_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for major, precision in ((8, "bfloat16"), (7, "float32")):
        told = SimpleNamespace(major=major)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _, told=told: told)
        assert resolve_precision("auto", torch.device("cuda:1")) == precision
    with pytest.raises(ConfigError, match="cuda:1 has no bfloat16: use float16"):
        resolve_precision("bfloat16", torch.device("cuda:1"))


@pytest.mark.parametrize(
    ("capabilities", "fast"),
    [({"amx_bf16": True}, True), ({"avx512_bf16": True, "amx_bf16": False}, False), ({}, False)],
)
def test_of_cpus_those_with_amx_are_made_for_it(
    capabilities: dict[str, bool], fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert multiplies_bfloat16(CPU) is fast
    assert not multiplies_bfloat16(torch.device("mps"))


def test_a_damaged_store_is_told_before_the_encoder_is_loaded(
    run_extract: Extract, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("samcache.extract.encoders.precision.multiplies_bfloat16", lambda _: True)
    store, _ = run_extract()
    Path(store.location, "zarr.json").write_bytes(b"cut short")
    with pytest.raises(StoreError, match="samcache cache repair"):
        run_extract(precision="auto", checkpoint=tmp_path / "none.pth")
