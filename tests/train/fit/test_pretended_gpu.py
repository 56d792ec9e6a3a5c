"""What trains on a GPU keeps to it, from stored maps to the loss."""

import pytest
import torch
from pretended_gpu import GPU, moved
from torch._subclasses.fake_tensor import FakeTensorMode

from samcache.train.data.dataset import Scale
from samcache.train.data.spreads import name_spread
from samcache.train.fit.objective import Objective
from samcache.train.model.backbones import build_backbone
from samcache.train.model.classifier import Classifier, Design
from samcache.train.tasks.targets.classes import CrossEntropy

SIDE = 64
SHAPES = {"early": (128, 8, 8), "neck": (256, 4, 4)}
SHAPES |= {name_spread(level): (shape[0], 1, 1) for level, shape in SHAPES.items()}
TAPS = {"early": "stage1", "neck": "stage4"}


@pytest.mark.parametrize("backbone", ["resnet18", "swin_v2_t", "timm:legacy_senet154"])
def test_a_batch_is_classified_where_it_lies(backbone: str) -> None:
    design = Design(TAPS, reduction=4, fusion="gate", join=True)
    channels = {name: shape[0] for name, shape in SHAPES.items()}
    model = Classifier(build_backbone(backbone, 3, SIDE), design, channels, SIDE)
    with FakeTensorMode(), torch.device(GPU):
        maps = {
            name: Scale.none(shape[0]).apply(torch.empty(4, *shape, dtype=torch.float16))
            for name, shape in SHAPES.items()
        }
        logits = moved(model)(torch.empty(4, 3, SIDE, SIDE), maps)
        labels = torch.empty(4, dtype=torch.int64)
        loss = Objective(CrossEntropy(torch.empty(3), 0.1))(logits, labels, labels)
    assert logits.shape == (2, 4, 3)
    assert loss.device == GPU
