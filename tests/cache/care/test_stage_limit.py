"""Stages do not fill the disk, and none goes that is in use."""

import gc
import os
from pathlib import Path

import pytest
from copies import tree
from hypothesis import given, settings
from hypothesis import strategies as st
from stages import size_of, stage_it, stages
from store_content import full_store

from samcache.cache.care import stage
from samcache.cache.care.stage import find_stage_folder, parse_size, stage_store
from samcache.cache.errors import StoreError
from samcache.cache.store import Store


def test_the_least_recently_used_stages_go_first(
    tmp_path: Path,
    web: str,
    stage_root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = {}
    for age, name in enumerate(("one", "two", "three")):
        full_store(tmp_path / f"{name}.zarr")
        names[name] = Path(stage_it(f"{web}/{name}.zarr")[0].location).name
        os.utime(stage_root / f"{names[name]}.lock", (1e9 + age, 1e9 + age))
    gc.collect()
    stage_it(f"{web}/one.zarr")  # used again, so "two" is now the oldest
    gc.collect()
    (stage_root / "mine").mkdir()
    (stage_root / "mine" / "thesis.txt").write_text("no stage")
    used = stage._count_bytes(stage_root / names["one"])
    monkeypatch.setenv("SAMCACHE_STAGE_LIMIT", str(3 * used))
    full_store(tmp_path / "four.zarr")
    local, said = stage_it(f"{web}/four.zarr")
    assert f"removed the staged copy {stage_root / names['two']}" in said.replace("\n", "")
    kept = {names["one"], names["three"], Path(local.location).name}
    assert stages(stage_root) == {*kept, "mine"}
    assert (stage_root / "mine" / "thesis.txt").exists()


def test_a_stage_in_use_is_not_evicted(
    tmp_path: Path,
    web: str,
    stage_root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("one", "two"):
        full_store(tmp_path / f"{name}.zarr")
    used, _ = stage_it(f"{web}/one.zarr")
    monkeypatch.setenv("SAMCACHE_STAGE_LIMIT", "10kB")
    with pytest.raises(StoreError, match=r"has 6.6 kB, stages in use have .* of the 10.0 kB"):
        stage_it(f"{web}/two.zarr")
    assert used.read_images(0, 10).any()
    del used
    gc.collect()
    two, _ = stage_it(f"{web}/two.zarr")
    assert stages(stage_root) == {Path(two.location).name}


def test_a_store_larger_than_the_limit_is_refused_before_anything_is_evicted(
    tmp_path: Path,
    web: str,
    stage_root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full_store(tmp_path / "one.zarr")
    full_store(tmp_path / "large.zarr", rows=40)
    stage_it(f"{web}/one.zarr")
    gc.collect()
    monkeypatch.setenv("SAMCACHE_STAGE_LIMIT", "8kB")
    with pytest.raises(StoreError) as caught:
        stage_it(f"{web}/large.zarr")
    large = size_of(tmp_path / "large.zarr") / 1000
    assert f"has {large:.1f} kB, stages may take 8.0 kB: raise SAMCACHE_STAGE_LIMIT" in str(
        caught.value
    )
    assert len(stages(stage_root)) == 1


def test_the_default_limit_is_half_of_what_could_be_had(
    tmp_path: Path,
    web: str,
    stage_root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full_store(tmp_path / "one.zarr")
    usage = type("Usage", (), {"free": 13_000})
    monkeypatch.setattr(stage.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StoreError, match=r"has 6.6 kB, stages may take 6.5 kB"):
        stage_it(f"{web}/one.zarr")
    usage.free = 14_000
    stage_it(f"{web}/one.zarr")
    assert (
        stage._read_limit(stage_root)
        == (14_000 + stage._count_bytes(next(iter(stage._list_stages(stage_root))))) // 2
    )


def test_what_another_process_is_about_to_stage_counts(
    tmp_path: Path,
    web: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full_store(tmp_path / "one.zarr")
    full_store(tmp_path / "two.zarr", rows=3)
    monkeypatch.setenv("SAMCACHE_STAGE_LIMIT", "8kB")
    other = Store(f"{web}/one.zarr")

    real = stage._copy

    def stage_two(*_: object) -> None:
        monkeypatch.setattr(stage, "_copy", real)
        with pytest.raises(StoreError, match=r"stages in use have 6.6 kB of the 8.0 kB"):
            stage_it(f"{web}/two.zarr")

    monkeypatch.setattr(stage, "_copy", stage_two)
    with pytest.raises(StoreError, match="no store at"):  # nothing was copied
        stage_store(other)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1000", 1000),
        ("200GB", 200 * 10**9),
        ("1.5TB", 1_500_000_000_000),
        ("64 GiB", 64 << 30),
        ("3k", 3000),
        (" 5 M ", 5_000_000),
    ],
)
def test_sizes_are_read_as_written(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1e9", "ten", "5XB", "1.GB", "5iB"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(StoreError, match=r"SAMCACHE_STAGE_LIMIT is .* such as 200GB"):
        parse_size(text)


@settings(deadline=None)
@given(st.integers(0, 10**15))
def test_plain_bytes_are_exact(count: int) -> None:
    assert parse_size(str(count)) == count


@pytest.mark.parametrize("linked", ["another stage", "the stage's lock", "the stage"])
def test_nothing_behind_a_link_in_the_folder_of_stages_is_changed(
    linked: str, tmp_path: Path, web: str, stage_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_store(tmp_path / "one.zarr")
    own = find_stage_folder(Store(f"{web}/one.zarr"))
    stage_root.mkdir(parents=True)
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "thesis.txt").write_text("no stage" * 1000)
    (outside / "folder" / "data.txt").write_text("no stage" * 1000)
    name, target = {
        "another stage": (f"{'0' * 16}-{'0' * 12}", outside / "folder"),
        "the stage's lock": (f"{own.name}.lock", outside / "thesis.txt"),
        "the stage": (own.name, outside / "folder"),
    }[linked]
    (stage_root / name).symlink_to(target)
    monkeypatch.setenv("SAMCACHE_STAGE_LIMIT", "10kB")
    before = tree(outside)
    if linked == "another stage":
        stage_it(f"{web}/one.zarr")
    else:
        with pytest.raises(StoreError, match="link"):
            stage_it(f"{web}/one.zarr")
    assert tree(outside) == before
