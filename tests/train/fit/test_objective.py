"""What a training minimises."""

from dataclasses import replace
from pathlib import Path

import torch
from torch.nn import functional as F

from samcache.train.config import TrainConfig
from samcache.train.fit.objective import Objective
from samcache.train.tasks.targets.classes import Classes, CrossEntropy

LABELS = torch.tensor([0, 2, 1, 2, 2])


def heads(count: int) -> torch.Tensor:
    """Logits (count, 5, 3)."""
    return torch.randn(count, 5, 3, generator=torch.Generator().manual_seed(0))


def test_every_head_has_a_loss_of_its_own_and_counts_alike() -> None:
    both = heads(2)
    alone = [F.cross_entropy(head, LABELS) for head in both]
    found = Objective(CrossEntropy(None, 0.0))(both, LABELS, LABELS)
    torch.testing.assert_close(found, torch.stack(alone).mean())


def test_weights_and_smoothing_are_those_of_torchs_weighted_mean() -> None:
    weight = torch.tensor([2.0, 1.0, 0.5])
    (head,) = heads(1)
    expected = F.cross_entropy(head, LABELS, weight, label_smoothing=0.2)
    found = Objective(CrossEntropy(weight, 0.2))(head[None], LABELS, LABELS)
    torch.testing.assert_close(found, expected)


def test_a_class_weighs_inversely_to_how_often_it_is_trained_on() -> None:
    labels = torch.tensor([2, 0, 2, 1, 2, 0, 2, 2])
    weighted = TrainConfig("store", Path("out"), class_weights=True)
    classes = Classes(("a", "b", "c"))
    found = Objective.of(weighted, classes, labels).loss
    assert isinstance(found, CrossEntropy)
    torch.testing.assert_close(found.weight, torch.tensor([8 / 6, 8 / 3, 8 / 15]))
    found = Objective.of(replace(weighted, class_weights=False), classes, labels).loss
    assert found == CrossEntropy(None, 0.0)
