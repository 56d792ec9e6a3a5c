"""Attention as maps and pictures: the mean of the gates, laid over the image cell by cell."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from samcache.cache.errors import ConfigError
from samcache.train.attention_maps import attention_maps
from samcache.train.backbones import build_backbone
from samcache.train.classifier import Classifier, Design
from samcache.train.overlay import map_limits, overlay, write_panel

CHANNELS = {"patch": 8, "neck": 16}
TAPS = {"patch": "stem", "neck": "stage4"}


@pytest.mark.parametrize("backbone", ["resnet18", "swin_v2_t"])
def test_a_map_is_the_mean_of_the_gates_of_its_level(backbone: str) -> None:
    design = Design(TAPS, reduction=4, fusion="gate")
    model = Classifier(build_backbone(backbone, 2, 64), design, CHANNELS, 64).eval()
    generator = torch.Generator().manual_seed(0)
    pooled = {
        level: torch.randn((3, count, 4, 4), generator=generator)
        for level, count in CHANNELS.items()
    }
    maps = attention_maps(model, pooled)
    assert list(maps) == ["patch", "neck"]
    for level, found in maps.items():
        assert found.shape == (3, 4, 4)
        assert 0 <= found.min() < found.max() <= 1
        one = {name: values[1:2] for name, values in pooled.items()}
        gate = model.gates(one)[level][0, :, 2, 3].mean().detach()
        assert float(found[1, 2, 3]) == pytest.approx(float(gate), abs=1e-6)


def test_a_classifier_without_attention_has_no_maps() -> None:
    model = Classifier(build_backbone("resnet18", 2, 32), Design({}, 4, "gate"), {}, 32)
    assert attention_maps(model, {}) == {}


def test_a_cell_of_the_map_covers_its_own_part_of_the_image() -> None:
    image = np.full((8, 8, 3), 100, np.uint8)
    attention = np.zeros((2, 2), np.float32)
    attention[0, 1] = 1
    laid = overlay(image, attention, (0, 1))
    bright = (laid != laid[7, 0]).any(axis=2)
    assert bright[:4, 4:].all()
    assert bright.sum() == 16
    assert (image == 100).all()


def test_limits_span_all_levels_and_are_never_one() -> None:
    maps = {"patch": np.array([[0.25, 0.5]]), "neck": np.array([[0.125]])}
    assert map_limits(maps) == (0.125, 0.5)
    low, high = map_limits({"neck": np.full((2, 2), 0.5)})
    assert low < high


def test_a_panel_is_a_picture_whatever_the_id_is(tmp_path: Path) -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    maps = {"patch": np.random.default_rng(0).random((4, 4)), "neck": np.full((2, 2), 0.5)}
    write_panel(tmp_path / "panel.png", image, maps, r"a$b_{c$.png \frac ✓ 肺 <id>")
    with Image.open(tmp_path / "panel.png") as written:
        assert written.width > 2 * written.height


def test_without_matplotlib_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"pip install 'samcache\[report\]'"):
        overlay(np.zeros((4, 4, 3), np.uint8), np.zeros((2, 2)), (0, 1))
