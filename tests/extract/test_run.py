"""Extraction fills a store, resumes it, refuses another one's, and survives bad images."""

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from shown import summary_text
from tiny_encoder import save_tiny_checkpoint
from tiny_extraction import Extract, write_npz

from samcache.cache.errors import ConfigError, ImageError, SourceError, StoreError
from samcache.cache.store import Store
from samcache.commands.show.progress import show_progress
from samcache.extract.encoders.load import load_encoder
from samcache.extract.encoders.registry import LEVELS, find_architecture
from samcache.extract.images.preprocess import normalise, to_frame
from samcache.extract.options import ExtractOptions
from samcache.extract.pipeline import fill as filling
from samcache.extract.run import extract
from samcache.extract.sources.open import open_source
from samcache.extract.sources.options import SourceOptions


def test_every_row_holds_the_encoders_output(
    run_extract: Extract, npz: Path, checkpoint: Path
) -> None:
    store, summary = run_extract(pool=1, dtype="float32", frame_size=32)
    assert (summary.samples, summary.encoded, summary.unreadable) == (40, 40, {})
    source = open_source(npz, SourceOptions())
    encoder = load_encoder(find_architecture("vit_tiny"), checkpoint, LEVELS)
    for row in (0, 7, 8, 39):
        image = source.read_image(row).decode()
        frame, extent = to_frame(image, 64)
        with torch.inference_mode():
            maps = encoder.model(normalise(torch.from_numpy(np.stack([frame])), [extent], "sam"))
        for level in LEVELS:
            found = torch.from_numpy(store.read_features(level, row, row + 1)[0, 0])
            torch.testing.assert_close(found, maps[level][0], rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(store.read_images(row, row + 1)[0], to_frame(image, 32)[0])
    pd_ids = store.samples["id"].tolist()
    assert pd_ids == source.samples["id"].tolist()


def test_statistics_are_those_of_the_unpooled_training_maps(run_extract: Extract) -> None:
    unpooled, _ = run_extract("full", pool=1, dtype="float32")
    pooled, _ = run_extract("pooled", pool=4, dtype="float32")
    train = (unpooled.samples["split"] == "train").to_numpy()
    for level in LEVELS:
        maps = unpooled.read_features(level, 0, 40)[train, 0].astype(np.float64)
        moments = pooled.read_moments()[level]
        np.testing.assert_allclose(moments.mean, maps.mean(axis=(0, 2, 3)), atol=1e-5)
        np.testing.assert_allclose(moments.variance, maps.var(axis=(0, 2, 3)), rtol=1e-4)
        np.testing.assert_array_equal(moments.variance, unpooled.read_moments()[level].variance)


def test_a_second_run_encodes_nothing(
    run_extract: Extract, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_extract()
    monkeypatch.setattr(
        "samcache.extract.pipeline.shard_encoder.ShardEncoder.encode",
        lambda *_: pytest.fail("encoded"),
    )
    _, summary = run_extract()
    assert summary.encoded == 0
    assert summary.samples == 40


def test_a_run_that_stops_keeps_what_it_committed(
    run_extract: Extract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = filling.commit_shard

    def one_fails(store: Store, shard: int, *rest: Any) -> bool:
        if shard == 2:
            raise OSError("disk full")
        return commit(store, shard, *rest)

    monkeypatch.setattr(filling, "commit_shard", one_fails)
    with pytest.raises(OSError, match="disk full"):
        run_extract()
    kept = set(Store(tmp_path / "toy.zarr").commits)
    assert {0, 1} <= kept <= {0, 1, 3, 4}, "later ones too where they were written beside the other"
    monkeypatch.setattr(filling, "commit_shard", commit)
    store, summary = run_extract()
    assert store.list_pending() == []
    assert summary.encoded == 40 - 8 * len(kept)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pool": 1}, "pool is 2 in the store, 1 in this run"),
        ({"levels": ("neck",)}, "levels is patch,early,middle,late,neck in the store, neck in"),
        ({"image_size": 32}, "image_size is 64 in the store, 32 in this run"),
        ({"dtype": "float32"}, "dtype is 'float16' in the store"),
        ({"precision": "bfloat16"}, "precision is 'float32' in the store, 'bfloat16' in this run"),
        ({"frame_size": 32}, "frame_size is 64 in the store"),
        ({"preprocessing": "medsam"}, "preprocessing is 'sam' in the store, 'medsam' in this run"),
    ],
)
def test_other_settings_are_refused_by_name(
    run_extract: Extract, change: dict[str, object], message: str
) -> None:
    before, _ = run_extract()
    with pytest.raises(StoreError, match=message):
        run_extract(**change)
    assert Store(before.location).list_pending() == []


def test_another_checkpoint_under_the_same_name_is_refused(
    run_extract: Extract, tmp_path: Path
) -> None:
    path = save_tiny_checkpoint(tmp_path / "w.pth", seed=0)
    run_extract(checkpoint=path)
    save_tiny_checkpoint(path, seed=1)
    with pytest.raises(StoreError, match=r"weights is .* in the store"):
        run_extract(checkpoint=path)


def test_another_source_is_refused(run_extract: Extract, tmp_path: Path) -> None:
    run_extract()
    other = write_npz(tmp_path / "other.npz", (24, 8, 8), classes=4)
    with pytest.raises(StoreError, match="also 2, 3, and the classes of a store never change"):
        run_extract(source=other)
    rng = np.random.default_rng(0)
    for name in "01":
        path = tmp_path / "images" / name / "x.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    with pytest.raises(StoreError, match="holds toy, and no sample of the source"):
        run_extract(source=tmp_path / "images")


def test_a_pool_that_does_not_divide_a_level_is_refused(run_extract: Extract) -> None:
    with pytest.raises(ConfigError, match="pool 3 does not divide level patch, which is 4 x 4"):
        run_extract(pool=3)


def test_values_beyond_float16_are_kept_in_float32(run_extract: Extract, tmp_path: Path) -> None:
    weights = torch.load(save_tiny_checkpoint(tmp_path / "w.pth"), weights_only=True)
    weights["image_encoder.patch_embed.proj.bias"] += 1e5
    torch.save(weights, tmp_path / "w.pth")
    store, _ = run_extract("wide", checkpoint=tmp_path / "w.pth", dtype="float32")
    assert np.isfinite(store.read_features("patch", 0, 40)).all()


@pytest.fixture
def folder_with_a_bad_image(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("benign", "malignant"):
        for number in range(10):
            path = tmp_path / "images" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            shape = (30, 50, 3) if number % 2 else (50, 30, 3)
            Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path)
    bad = tmp_path / "images" / "benign" / "3.png"
    bad.write_bytes(bad.read_bytes()[:90])
    return tmp_path / "images"


def test_an_unreadable_image_is_recorded_and_the_run_goes_on(
    run_extract: Extract, folder_with_a_bad_image: Path
) -> None:
    store, summary = run_extract(source=folder_with_a_bad_image)
    assert list(summary.unreadable) == ["benign/3.png"]
    assert "benign/3.png: cannot be decoded" in summary_text(summary)
    assert (store.samples["status"] == "ok").sum() == 19
    bad = store.samples.index[store.samples["id"] == "benign/3.png"][0]
    assert len(store.samples["sha256"].iloc[bad]) == 64, "its bytes could be read"
    assert not store.read_features("neck", bad, bad + 1).any()
    _, again = run_extract(source=folder_with_a_bad_image)
    assert list(again.unreadable) == ["benign/3.png"], "a resumed run says so too"


def test_strict_stops_at_the_unreadable_image(
    run_extract: Extract, folder_with_a_bad_image: Path
) -> None:
    with pytest.raises(ImageError, match=r"benign/3\.png: cannot be decoded.*switch strict off"):
        run_extract(source=folder_with_a_bad_image, strict=True)


def test_a_store_without_images_has_none(run_extract: Extract) -> None:
    store, _ = run_extract(frame_size=0)
    assert "images" not in store.arrays
    assert not (Path(store.location) / "images").exists()
    assert store.list_pending() == []


def test_copies_across_splits_are_told_and_recorded(run_extract: Extract, tmp_path: Path) -> None:
    with np.load(write_npz(tmp_path / "leak.npz")) as file:
        arrays = dict(file)
    arrays["test_images"][3] = arrays["train_images"][2]
    arrays["train_images"][5] = arrays["train_images"][4]
    np.savez(tmp_path / "leak.npz", **arrays)
    _, summary = run_extract(source=tmp_path / "leak.npz")
    assert [same.ids for same in summary.duplicates] == [
        ("train/000002", "test/000003"),
        ("train/000004", "train/000005"),
    ]
    assert "train/000002 (train, 0) = test/000003 (test, 1)" in summary_text(summary)
    assert "1 image repeated within a split" in summary_text(summary)


def test_a_group_in_two_splits_is_refused_unless_allowed(
    run_extract: Extract, folder_with_a_bad_image: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "labels.csv"
    manifest.write_text(
        "file,split,class,patient\nbenign/0.png,train,b,p1\nbenign/1.png,test,b,p1\n"
    )
    reading = SourceOptions(group="patient", root=folder_with_a_bad_image)
    with pytest.raises(SourceError, match=r"first 'p1' in test and train.*or accept such groups"):
        run_extract(source=manifest, reading=reading)
    store, _ = run_extract(source=manifest, reading=reading, allow_split_groups=True)
    assert store.samples["group"].tolist() == ["p1", "p1"]


def test_hashed_ids_tell_nothing_and_can_be_made_again(
    run_extract: Extract, folder_with_a_bad_image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"source": folder_with_a_bad_image, "hash_ids": True}
    monkeypatch.delenv("SAMCACHE_ID_KEY", raising=False)
    with pytest.raises(ConfigError, match="at least 16 characters in SAMCACHE_ID_KEY, found 0"):
        run_extract(**options)
    monkeypatch.setenv("SAMCACHE_ID_KEY", "a secret of the house")
    store, summary = run_extract(**options)
    assert store.samples["id"].str.fullmatch("[0-9a-f]{32}").all()
    assert not store.samples["id"].duplicated().any()
    assert len(summary.unreadable) == 1
    every_byte = b"".join(p.read_bytes() for p in Path(store.location).rglob("*") if p.is_file())
    for word in (b"malignant/", b"benign/", b"secret of the house", b"pytest"):
        assert word not in every_byte
    _, again = run_extract(**options)
    assert again.encoded == 0
    monkeypatch.setenv("SAMCACHE_ID_KEY", "another secret altogether")
    with pytest.raises(StoreError, match="no sample of the source"):
        run_extract(**options)


def test_batches_never_cross_shards(run_extract: Extract) -> None:
    """Any batch size above the shard gives the same bits as one batch a shard."""
    first, _ = run_extract("a", batch_size=8)
    second, _ = run_extract("b", batch_size=500)
    for level in LEVELS:
        np.testing.assert_array_equal(
            first.read_features(level, 0, 40), second.read_features(level, 0, 40)
        )


def test_the_progress_bar_ends_at_all_images(npz: Path, checkpoint: Path, tmp_path: Path) -> None:
    output = StringIO()
    options = ExtractOptions(npz, tmp_path / "s.zarr", "vit_tiny", checkpoint, pool=1)
    with show_progress(Console(file=output, width=120)) as on_progress:
        extract(replace(options, shard_rows=16), on_progress)
    assert output.getvalue().count("40/40") == 1, "one bar"
    assert "images/s" in output.getvalue()
