"""Predictions: the same from live images, from a store, and as the run itself has written them."""

import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.data import get_testdata_file
from tiny_encoder import save_tiny_checkpoint
from trained_run import Trained, one_line, own_predictions, samcache, windowed

from samcache.cache.store import Store
from samcache.train.pictures.heat_maps import make_file_name
from samcache.train.predict import predict_store
from samcache.train.runs.ensemble import load_ensemble, open_predictor
from samcache.train.tasks.splits import name_member

P = ["p_benign", "p_malign"]


def predicted(
    trained: Trained, *words: object, status: int = 0, run: Path | None = None
) -> pd.DataFrame:
    """The rows that ``predict`` writes, by id."""
    tail = [*words, "--checkpoint", trained.checkpoint]
    result = samcache("predict", run or trained.run, *tail)
    assert result.exit_code == status, result.output
    return pd.read_csv(io.StringIO(result.stdout), index_col="id")


def test_live_images_and_the_store_give_what_the_run_has_written(trained: Trained) -> None:
    own = own_predictions(trained.run)
    live = predicted(trained, trained.images)
    cached = predicted(trained, trained.store)
    assert list(live.columns) == ["predicted", *P, "sd", "reason"]
    assert sorted(live.index) == sorted(cached.index)
    assert np.ptp(own["p_malign"]) > 0.01, "all images look the same: nothing is shown"
    np.testing.assert_allclose(cached.loc[own.index, P], own, atol=1e-5)
    np.testing.assert_allclose(live.loc[own.index, P], own, atol=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"attention": "none"},
        {"attention": "none", "join": True},
        {"attention": "global"},
        {"fusion": "residual", "taps": ("neck:stage2", "patch:stage2")},
        {"kernel": 4, "stem": "small", "backbone": "resnet18", "join": True},
        {"folds": 2},
        {"precision": "bfloat16", "backbone": "timm:test_resnet", "taps": ("neck:stage4",)},
    ],
    ids=lambda options: "-".join(map(str, options)),
)
def test_every_member_predicts_what_it_has_written(
    trained: Trained, tmp_path: Path, options: dict[str, object]
) -> None:
    run = open_predictor(trained.train(tmp_path / "run", **options))
    ensemble = load_ensemble(run)
    parts = list(predict_store(run, ensemble, Store(trained.store)))
    ids = np.concatenate([part.samples["id"] for part in parts])
    each = np.concatenate([part.probabilities for part in parts], axis=1)
    written = pd.read_csv(run.folder / "predictions.csv")
    for (seed, fold), own in written.groupby(["seed", "fold"], dropna=False):
        name = name_member(seed, None if np.isnan(fold) else int(fold), 1)
        found = pd.DataFrame(each[ensemble.names.index(name)], ids, P)
        np.testing.assert_allclose(found.loc[own["id"]], own[P], atol=1e-5)


def test_members_are_averaged_and_their_spread_is_told(trained: Trained) -> None:
    table = pd.read_csv(trained.run / "predictions.csv").set_index(["id", "seed"])["p_malign"]
    name = "test/malign/malign03.png"
    found, both = predicted(trained, trained.store).loc[name], table[name]
    winner = both if found["predicted"] == "malign" else 1 - both
    assert found["p_malign"] == pytest.approx(both.mean(), abs=1e-5)
    assert found["sd"] == pytest.approx(winner.std(ddof=1), abs=1e-5)


def test_fractions_of_the_data_have_no_part_in_the_ensemble(
    trained: Trained, tmp_path: Path
) -> None:
    run = trained.train(tmp_path / "run", fractions=(0.5, 1.0))
    table = pd.read_csv(run / "predictions.csv")
    whole = table[table["fraction"] == 1].set_index("id")[P]
    found = predicted(trained, trained.store, run=run)
    np.testing.assert_allclose(found.loc[whole.index, P], whole, atol=1e-5)
    assert found["sd"].isna().all()
    half = trained.train(tmp_path / "half", fractions=(0.5,))
    assert "no member that was trained on all" in one_line(samcache("predict", half, trained.store))


def test_files_that_are_passed_over_are_told_beside_the_rows(
    trained: Trained, tmp_path: Path
) -> None:
    folder = tmp_path / "new [1]"
    folder.mkdir()
    shutil.copy(trained.images / "test/malign/malign00.png", folder / "0.png")
    for name in ("notes [draft].txt", "Thumbs.db", ".hidden.txt"):
        (folder / name).write_text("")
    words = ["predict", trained.run, folder, "--checkpoint", trained.checkpoint]
    told = samcache(*words)
    assert "2 files were passed over (first: Thumbs.db)" in told.stderr
    assert len(told.stdout.splitlines()) == 2, "the rows are as they were"
    assert "passed over" not in samcache(*words, "-q").stderr


def test_a_bad_image_has_its_reason_and_the_others_are_predicted(
    trained: Trained, tmp_path: Path
) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    for number in range(3):
        shutil.copy(trained.images / f"test/malign/malign0{number}.png", folder / f"{number}.png")
    (folder / "1.png").write_bytes(b"no image")
    table = predicted(trained, folder, status=3)
    assert list(table.index) == ["0.png", "1.png", "2.png"]
    assert table["reason"].isna().tolist() == [True, False, True]
    assert "not an image format" in table["reason"]["1.png"]
    assert table.loc["1.png", P].isna().all()
    own = own_predictions(trained.run).loc["test/malign/malign02.png"]
    np.testing.assert_allclose(table.loc["2.png", P].astype(float), own, atol=1e-3)


def test_files_dicom_and_manifests_are_inputs_and_need_no_labels(
    trained: Trained, tmp_path: Path
) -> None:
    dicom = tmp_path / "IM0001"
    shutil.copy(str(get_testdata_file("MR_small.dcm", download=False)), dicom)
    image = trained.images / "test/benign/benign01.png"
    manifest = tmp_path / "list.csv"
    manifest.write_text("file\ntest/benign/benign01.png\n")
    table = predicted(
        trained, dicom, image, manifest, "--root", trained.images, tmp_path / "IM0001"
    )
    assert list(table.index) == [str(dicom), str(image), f"{manifest}/test/benign/benign01.png"]
    same, again = table[P].to_numpy(dtype=float)[1:]
    np.testing.assert_allclose(again, same, atol=1e-6)  # a place in a batch rounds in its own way
    assert table[P].notna().all(axis=None)


def test_the_runs_window_is_used_and_a_store_with_another_is_refused(
    trained: Trained, tmp_path: Path
) -> None:
    header = pydicom.dcmread(str(get_testdata_file("MR_small.dcm", download=False)))
    for split in ("train", "val", "test"):
        for label, slope in (("low", 1), ("high", 3)):
            for number in range(4):
                header.RescaleSlope, header.RescaleIntercept = slope, number
                path = tmp_path / "dicom" / split / label / f"{number}.dcm"
                path.parent.mkdir(parents=True, exist_ok=True)
                header.save_as(path)
    stores = [
        trained.extract(
            tmp_path / f"{high}.zarr",
            tmp_path / "dicom",
            reading=windowed(0, high),
            allow_split_groups=True,
        )
        for high in (4000, 9000)
    ]
    mine = Trained(tmp_path / "dicom", stores[0], trained.checkpoint, tmp_path / "run")
    mine.train(mine.run)
    live, cached = predicted(mine, mine.images), predicted(mine, mine.store)
    probabilities = ["p_high", "p_low"]
    np.testing.assert_allclose(
        live.loc[cached.index, probabilities], cached[probabilities], atol=1e-3
    )
    line = one_line(samcache("predict", mine.run, stores[1]))
    assert "window is '0,9000' in the store, '0,4000' in this run" in line


def test_other_weights_are_refused(trained: Trained, tmp_path: Path) -> None:
    other = save_tiny_checkpoint(tmp_path / "other.pth", seed=1)
    words = ["predict", trained.run, trained.images, "--checkpoint"]
    line = one_line(samcache(*words, other))
    assert f"SHA-256 {Store(trained.store).identity.weights[:12]}" in line
    assert "other.pth" in line
    assert "no checkpoint at" in one_line(samcache(*words, tmp_path / "none.pth"))
    assert "which are not the official file" in one_line(samcache(*words[:-1]))


@pytest.mark.parametrize(
    ("change", "field"),
    [({"pool": 1}, "pool is 1"), ({"frame_size": 32}, "frame_size is 32")],
)
def test_a_store_of_other_features_is_refused_by_the_fields_name(
    trained: Trained, tmp_path: Path, change: dict[str, object], field: str
) -> None:
    other = trained.extract(tmp_path / "other.zarr", **change)
    assert field in one_line(samcache("predict", trained.run, other))


def test_a_store_with_more_views_is_predicted_from_the_first(
    trained: Trained, tmp_path: Path
) -> None:
    flips = trained.extract(tmp_path / "flips.zarr", views="flips")
    plain = predicted(trained, trained.store)
    pd.testing.assert_frame_equal(predicted(trained, flips), plain, atol=1e-4)


def test_json_says_what_csv_says(trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    result = samcache("predict", trained.run, trained.store, "--json", "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    found = json.loads(out.read_text())
    assert (found["members"], found["classes"]) == (["seed-0", "seed-1"], ["benign", "malign"])
    rows = pd.DataFrame(found["predictions"]).set_index("id")
    np.testing.assert_array_equal(rows[P], predicted(trained, trained.store)[P])
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]


def test_the_folder_of_a_file_is_made(trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder" / "p.csv"
    result = samcache("predict", trained.run, trained.store, "--out", out)
    assert result.exit_code == 0, result.output
    assert [path.name for path in out.parent.iterdir()] == ["p.csv"]


def test_a_refused_prediction_leaves_no_file(trained: Trained, tmp_path: Path) -> None:
    words = ["predict", trained.run, trained.images, "--out", tmp_path / "p.csv"]
    one_line(samcache(*words, "--checkpoint", save_tiny_checkpoint(tmp_path / "x.pth", seed=2)))
    assert [path.name for path in tmp_path.iterdir()] == ["x.pth"]


def test_names_that_are_no_text_are_refused_and_odd_ones_are_quoted(
    trained: Trained, tmp_path: Path
) -> None:
    image = (trained.images / "test/benign/benign01.png").read_bytes()
    (tmp_path / 'a\nb,"é肺.png').write_bytes(image)
    assert predicted(trained, tmp_path).index.tolist() == ['a\nb,"é肺.png']
    (tmp_path / os.fsdecode(b"b\xff.png")).write_bytes(image)
    words = ["predict", trained.run, tmp_path, "--checkpoint", trained.checkpoint]
    result = samcache(*words)
    assert "is not a file name in UTF-8" in one_line(result)
    assert result.stdout == ""


def test_hashed_ids_hide_the_names(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMCACHE_ID_KEY", "a secret of many letters")
    hashed = predicted(trained, trained.images / "test", "--hash-ids")
    assert all(len(name) == 32 for name in hashed.index)
    plain = predicted(trained, trained.images / "test")
    assert hashed["p_malign"].tolist() == plain["p_malign"].tolist()


def test_heat_maps_are_one_picture_an_image(trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "maps"
    table = predicted(trained, trained.images / "test" / "benign", "--heatmap", folder)
    assert sorted(table["heatmap"]) == sorted(path.name for path in folder.iterdir())
    assert len(table) == 6


def test_without_attention_there_are_no_heat_maps(trained: Trained, tmp_path: Path) -> None:
    run = trained.train(tmp_path / "run", attention="none")
    words = ["predict", run, trained.store, "--heatmap", tmp_path / "maps"]
    assert "has no heat maps" in one_line(samcache(*words))
    assert not (tmp_path / "maps").exists()


def test_ids_from_outside_make_no_paths() -> None:
    hostile = ["../../etc/passwd", "/abs", "a/b", "a_b", "", "..", "x" * 999, "Ä\0\n", "-rf"]
    names = [make_file_name(name) for name in hostile]
    assert len(set(names)) == len(hostile)
    assert not any("/" in name or name.startswith((".", "-")) for name in names)
    assert max(map(len, names)) < 128


def test_real_images_live_and_cached_give_the_same(
    real_data: Path, real_weights: Path, tmp_path: Path
) -> None:
    root = real_data / "isic2017_256"
    labels = pd.read_csv(root / "labels.csv").groupby(["split", "class"]).head(4)
    labels.to_csv(tmp_path / "few.csv", index=False)
    labels[labels["split"] == "test"]["file"].to_csv(tmp_path / "test.csv", index=False)
    checkpoint = ["--checkpoint", real_weights / "mobile_sam.pt"]
    words = ["extract", tmp_path / "few.csv", "--root", root, "--store", tmp_path / "few.zarr"]
    result = samcache(*words, "--encoder", "vit_t", "--image-size", 128, *checkpoint)
    assert result.exit_code == 0, result.output
    words = ["train", tmp_path / "few.zarr", "--out", tmp_path / "run", "--seeds", "0"]
    samcache(*words, "--epochs", 2, "--image-size", 32)
    own = own_predictions(tmp_path / "run").loc[labels[labels["split"] == "test"]["file"]]
    result = samcache(
        "predict", tmp_path / "run", tmp_path / "test.csv", "--root", root, *checkpoint
    )
    assert result.exit_code == 0, result.output
    found = pd.read_csv(io.StringIO(result.stdout), index_col="id")
    np.testing.assert_allclose(found.loc[own.index, own.columns], own, atol=1e-3)
    other = ["--checkpoint", real_weights / "lite_medsam.pth"]
    line = one_line(samcache("predict", tmp_path / "run", tmp_path / "test.csv", *other))
    assert "expected the weights mobile_sam.pt of vit_t" in line
