"""A suffix that promises another format than the command writes is refused, before any work."""

from pathlib import Path

import pytest
from trained_run import Trained, one_line, samcache


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["cache", "export", "STORE", "x.parquet"], ".parquet"),
        (["cache", "export", "STORE", "x"], "no suffix"),
        (["cache", "copy", "STORE", "x.h5"], ".h5"),
        (["cache", "merge", "STORE", "--out", "x.zip"], ".zip"),
        (["extract", "IMAGES", "--store", "x.h5", "--encoder", "vit_t"], ".h5"),
        (["train", "STORE", "--out", "x.zarr"], ".zarr"),
        (["sweep", "STORE", "--out", "x.csv"], ".csv"),
        (["report", "RUN", "--out", "x.pdf"], ".pdf"),
        (["report", "RUN", "--out", "report"], "no suffix"),
        (["predict", "RUN", "IMAGES", "--out", "x.json"], ".json"),
        (["predict", "RUN", "IMAGES", "--out", "x.parquet"], ".parquet"),
        (["predict", "RUN", "IMAGES", "--json", "--out", "x.csv"], ".csv"),
        (["predict", "RUN", "IMAGES", "--heatmap", "x.png"], ".png"),
        (["evaluate", "RUN", "STORE", "--out", "x.csv"], ".csv"),
        (["export", "RUN", "--out", "x.onnx"], ".onnx"),
        (["export", "RUN", "--format", "onnx", "--out", "x.PT2"], ".pt2"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_suffix_of_another_format_is_refused(
    words: list[str],
    found: str,
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"RUN": trained.run, "STORE": trained.store, "IMAGES": trained.images}
    line = one_line(samcache(*(names.get(word, word) for word in words)))
    assert f"found {found}: " in line
    assert list(tmp_path.iterdir()) == []


def test_an_import_from_another_format_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK")
    line = one_line(samcache("cache", "import", tmp_path / "x.zip", tmp_path / "x.zarr"))
    assert "x.zip" in line
    assert "HDF5" in line
