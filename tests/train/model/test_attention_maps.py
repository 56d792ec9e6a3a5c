"""Gates as maps: their mean over channels."""

import pytest
import torch

from samcache.train.model.attention_maps import compute_attention_maps
from samcache.train.model.backbones import build_backbone
from samcache.train.model.classifier import Classifier, Design

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
    maps = compute_attention_maps(model, pooled)
    assert list(maps) == ["patch", "neck"]
    for level, found in maps.items():
        assert found.shape == (3, 4, 4)
        assert 0 <= found.min() < found.max() <= 1
        one = {name: values[1:2] for name, values in pooled.items()}
        gate = model.compute_gates(one)[level][0, :, 2, 3].mean().detach()
        assert float(found[1, 2, 3]) == pytest.approx(float(gate), abs=1e-6)


def test_a_classifier_without_attention_has_no_maps() -> None:
    model = Classifier(build_backbone("resnet18", 2, 32), Design({}, 4, "gate"), {}, 32)
    assert compute_attention_maps(model, {}) == {}
