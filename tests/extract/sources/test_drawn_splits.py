"""Drawn splits keep copies of an image together, and are as before where there are none."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from samcache.cache.labels.duplicates import find_duplicates
from samcache.cache.store import Store
from samcache.extract.check import check_source
from samcache.extract.options import ExtractOptions
from samcache.extract.run import extract
from samcache.extract.sources.known_splits import keep_copies_together
from samcache.extract.sources.open import open_source
from samcache.extract.sources.splits import draw_splits

QUIET = Console(file=StringIO())


def table(labels: list[int], groups: list[str]) -> pd.DataFrame:
    ids = [f"{number}.png" for number in range(len(labels))]
    samples = pd.DataFrame({"id": ids, "label": labels, "group": groups})
    return samples.assign(split=draw_splits(samples, 5))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.integers(1, 30), st.integers(1, 40))
def test_copies_share_a_split_and_every_class_stands_in_each(
    labels: list[int], groups: int, images: int
) -> None:
    rng = np.random.default_rng(len(labels) + groups)
    named = [f"p{group}" if group else "" for group in rng.integers(0, groups, len(labels))]
    samples = table(labels, named)
    sha256 = [f"{image}" if image else "" for image in rng.integers(0, images, len(labels))]
    split = keep_copies_together(samples, sha256, 5)
    known = samples.assign(sha256=sha256, split=split)
    assert not any(same.leaks for same in find_duplicates(known))
    assert known[known["group"] != ""].groupby("group")["split"].nunique().max() in (1, np.nan)
    apart = [f"{number}" for number in range(len(labels))]
    assert list(keep_copies_together(samples, apart, 5)) == list(samples["split"])


def test_few_images_with_copies_fill_every_split() -> None:
    """As moving a copy to the other's split would not."""
    for seed in range(20):
        samples = table([0] * 4, [""] * 4)
        samples["split"] = draw_splits(samples, seed)
        split = keep_copies_together(samples, ["a", "b", "c", "a"], seed)
        assert set(split) == {"train", "val", "test"}


@pytest.fixture
def options(tmp_path: Path, checkpoint: Path) -> ExtractOptions:
    """Of a folder of two classes, and of a new store."""
    for number in range(24):
        draw(tmp_path / f"images/{'ab'[number % 2]}/{number:02}.png", number)
    return ExtractOptions(
        tmp_path / "images", tmp_path / "s.zarr", "vit_tiny", checkpoint, pool=2, shard_rows=8
    )


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def splits(store: Store) -> dict[str, str]:
    return dict(zip(store.table["id"], store.table["split"], strict=True))


def leaking(options: ExtractOptions) -> bool:
    return any(same.leaks for same in extract(options).duplicates)


def test_a_new_store_parts_no_copies_as_the_check_says(options: ExtractOptions) -> None:
    drawn = open_source(options.source, options.reading).samples
    assert dict(zip(drawn["id"], drawn["split"], strict=True)) == _extracted(options)
    by_split = drawn.groupby("split")["id"].first()
    for copy in ("val", "test"):
        there, here = (options.source / by_split[split] for split in (copy, "train"))
        there.write_bytes(here.read_bytes())
    with_copies = replace(options, store=options.source.parent / "copies.zarr")
    assert not leaking(with_copies)
    report = check_source(open_source(options.source, options.reading))
    assert not any(same.leaks for same in report.duplicates)
    counts = Store(with_copies.store).table.groupby("split").size()
    assert {split: sum(row.values()) for split, row in report.counts.items()} == dict(counts)


def _extracted(options: ExtractOptions) -> dict[str, str]:
    extract(options)
    return splits(Store(options.store))


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_new_copies_join_the_split_of_what_is_stored(options: ExtractOptions, split: str) -> None:
    before = _extracted(options)
    known = next(name for name, own in before.items() if own == split)
    for number in range(3):
        copy = options.source / f"a/copy{number}.png"
        copy.write_bytes((options.source / known).read_bytes())
        draw(options.source / f"b/new{number}.png", 100)  # copies of one another
    assert not leaking(options)
    after = splits(Store(options.store))
    assert before.items() <= after.items()
    assert {after[f"a/copy{number}.png"] for number in range(3)} == {split}


def test_copies_of_images_that_are_not_encoded_yet_are_found_too(options: ExtractOptions) -> None:
    before = _extracted(options)
    for commit in Path(options.store).glob("commits/0*/zarr.json"):
        commit.unlink()
    known = next(name for name, own in before.items() if own == "test")
    (options.source / "a/copy.png").write_bytes((options.source / known).read_bytes())
    assert not leaking(options)
    assert splits(Store(options.store))["a/copy.png"] == "test"
