"""MedMNIST by name, Parquet manifests, windows, and what --check tells."""

import hashlib
import io
import json
from pathlib import Path

import medmnist
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from image_files import draw
from PIL import Image
from pixels import pixels_of
from shown import summary_text, text_of
from tiny_extraction import Extract, write_npz

from samcache.cache.errors import SourceError
from samcache.cli import cli
from samcache.commands.show.extraction import describe_report, report_to_json, summary_to_json
from samcache.extract.check import check_source
from samcache.extract.sources.inputs import open_inputs
from samcache.extract.sources.open import open_source
from samcache.extract.sources.options import SourceOptions


def saved(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_medmnist_name_is_found_by_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    (tmp_path / ".medmnist").mkdir()
    path = write_npz(tmp_path / ".medmnist" / "breastmnist_64.npz", (8, 4, 4))
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setitem(medmnist.INFO["breastmnist"], "MD5_64", digest)
    source = open_source(Path("medmnist:breastmnist@64"), SourceOptions())
    assert source.classes == ("malignant", "normal, benign")
    assert len(source.samples) == 16


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("medmnist:brestmnist", "expected one of bloodmnist, breastmnist"),
        ("medmnist:organmnist3d", "is not there"),
        ("medmnist:breastmnist@32", "sizes are 28, 64, 128, 224"),
    ],
)
def test_medmnist_names_that_do_not_exist_are_told(name: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        open_source(Path(name), SourceOptions())


def test_without_a_network_the_address_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setitem(medmnist.INFO["breastmnist"], "url", "http://127.0.0.1:9/b.npz")
    with pytest.raises(SourceError, match=r"get it from http://127\.0\.0\.1:9/b\.npz"):
        open_source(Path("medmnist:breastmnist"), SourceOptions())


def test_a_parquet_manifest_is_a_csv_manifest(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"file": ["a.png", "b.png", "c.png"], "class": [1, 2, 1], "split": ["train", "val", "test"]}
    )
    table.to_parquet(tmp_path / "m.parquet")
    table.to_csv(tmp_path / "m.csv", index=False)
    found, expected = (
        open_source(tmp_path / name, SourceOptions()) for name in ("m.parquet", "m.csv")
    )
    pd.testing.assert_frame_equal(found.samples, expected.samples)
    assert found.classes == expected.classes
    for name in ("m.parquet", "m.csv"):  # a store's table has text: others would never equal it
        samples = open_source(tmp_path / name, SourceOptions(group="class")).samples
        assert (samples[["id", "split", "group"]].dtypes == samples["id"].dtype).all()
    table.set_axis(["x", "y", "z"]).to_parquet(tmp_path / "m.parquet")
    found = open_source(tmp_path / "m.parquet", SourceOptions())
    pd.testing.assert_frame_equal(found.samples, expected.samples)
    table.assign(split=["train", " ", "test"]).set_axis(["x", "y", "z"]).to_parquet(
        tmp_path / "m.parquet"
    )
    with pytest.raises(SourceError, match="line 3: column 'split' is empty"):
        open_source(tmp_path / "m.parquet", SourceOptions())
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(SourceError, match="not a readable Parquet table"):
        open_source(tmp_path / "bad.parquet", SourceOptions())


def test_a_window_shows_the_same_grey_for_the_same_value(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name, top in (("x", 1000), ("y", 60000)):
        pixels = np.array([[0, 500], [1000, top]], np.uint16)
        (tmp_path / "a" / f"{name}.png").write_bytes(saved(pixels))
    source = open_source(tmp_path, SourceOptions(window=(0.0, 1000.0)))
    for row in range(2):
        shown = np.asarray(source.read_image(row).decode())[..., 0]
        assert shown.tolist() == [[0, 128], [255, 255]]
    eight_bits = saved(np.array([[7]], np.uint8))
    assert pixels_of(eight_bits, (0.0, 1000.0))[0, 0, 0] == 7


def test_check_tells_counts_sizes_bad_files_and_leaks(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ["file,class,split,patient"]
    for n, split in enumerate(["train"] * 4 + ["val"] * 2 + ["test"] * 2):
        (tmp_path / f"{n}.png").write_bytes(saved(rng.integers(0, 256, (8, 9), dtype=np.uint8)))
        lines.append(f"{n}.png,{'ab'[n % 2]},{split},p{n}")
    (tmp_path / "7.png").write_bytes((tmp_path / "0.png").read_bytes())
    (tmp_path / "3.png").write_bytes(b"")
    lines[-2] = lines[-2].replace("p6", "p0")
    (tmp_path / "m.csv").write_text("\n".join(lines))
    source = open_source(tmp_path / "m.csv", SourceOptions(group="patient"))
    report = check_source(source)
    assert report.counts["train"] == {"a": 2, "b": 2}
    assert report.sizes == {"8 x 9": 7}
    assert report.unreadable == {"3.png": "the file is empty (0 bytes)"}
    assert report.groups == {"p0": ("test", "train")}
    text = text_of(describe_report(report))
    assert "0.png (train, a) = 7.png (test, b)" in text
    assert "p0: test, train" in text
    assert json.loads(json.dumps(report_to_json(report)))["duplicates"][0]["ids"] == [
        "0.png",
        "7.png",
    ]


def test_check_takes_as_many_images_as_it_may(npz: Path) -> None:
    result = CliRunner().invoke(cli, ["extract", str(npz), "--check", "--limit", "6", "--json"])
    counts = json.loads(result.stdout)["counts"]
    assert sum(sum(classes.values()) for classes in counts.values()) == 6


def test_a_bucket_as_a_source_is_refused_as_one() -> None:
    for name in ("s3://bucket/images", "https://x.org/labels.csv"):
        with pytest.raises(SourceError, match="a source should be local files, found a URL"):
            open_source(Path(name), SourceOptions())
        with pytest.raises(SourceError, match="a source should be local files, found a URL"):
            open_inputs([name], SourceOptions(), hash_ids=False)


def test_a_summary_shows_the_first_of_many_unreadable_images(
    tmp_path: Path, run_extract: Extract
) -> None:
    (tmp_path / "m.csv").write_text(
        "file,class\n" + "\n".join(f"{n:02d}.png,{'ab'[n % 2]}" for n in range(24))
    )
    draw(tmp_path / "23.png", 0)
    _, summary = run_extract(source=tmp_path / "m.csv")
    text = summary_text(summary)
    assert "23 unreadable images recorded in the store:" in text
    assert "  … and 3 more" in text
    assert text.count("cannot be read: No such file") == 20
    assert len(summary_to_json(summary)["unreadable"]) == 23
