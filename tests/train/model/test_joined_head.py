"""The joined head: stands beside the backbone's, reads the features' spreads, learns from them."""

import numpy as np
import pytest
import torch
from loading import load_scaled
from tiny_extraction import Extract
from torch import Tensor
from torch.nn import functional as F

from samcache.extract.encoders.registry import LEVELS
from samcache.train.data.load import read_inputs
from samcache.train.data.scaling import scale_inputs
from samcache.train.data.spreads import LEAST_DEVIATION, compute_spreads, name_spread
from samcache.train.model.backbones import build_backbone
from samcache.train.model.classifier import Classifier, Design
from samcache.train.model.joined_head import JoinedHead

MAPS = {"patch": 8, "neck": 16}
CHANNELS = MAPS | {name_spread(level): channels for level, channels in MAPS.items()}
TAPS = {"patch": "stem", "neck": "stage4"}


def drawn(count: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(count)
    maps = {
        level: torch.randn((count, channels, 4, 4), generator=generator)
        for level, channels in MAPS.items()
    }
    return maps | {name_spread(level): compute_spreads(values) for level, values in maps.items()}


def classifier(join: bool, taps: dict[str, str] = TAPS) -> Classifier:
    torch.manual_seed(0)
    backbone = build_backbone("resnet18", 2, 32)
    return Classifier(backbone, Design(taps, 4, "gate", join), CHANNELS, 32).eval()


@pytest.mark.parametrize("taps", [TAPS, {}], ids=["gated", "ungated"])
def test_it_stands_beside_the_backbones_own_head_and_leaves_that_as_it_is(
    taps: dict[str, str],
) -> None:
    images, given = torch.randn(3, 3, 32, 32), drawn(3)
    both, alone = (classifier(join, taps)(images, given) for join in (True, False))
    assert both.shape == (2, 3, 2)
    torch.testing.assert_close(both[:1], alone)
    assert both[1].std(dim=0).min() > 1e-3


def test_each_head_learns_by_a_loss_of_its_own() -> None:
    torch.manual_seed(0)
    model = classifier(join=True)
    images, given = torch.randn(3, 3, 32, 32), drawn(3)
    torch.autograd.backward(model(images, given)[1].sum())
    moved = {
        name
        for name, w in model.named_parameters()
        if w.grad is not None and w.grad.abs().max() > 0
    }
    assert moved == {
        f"joined.layers.{place}" for place in ("1.weight", "1.bias", "4.weight", "4.bias")
    }


def test_it_reads_spreads_and_no_maps() -> None:
    head = JoinedHead(CHANNELS, classes=3).eval()
    given, other = drawn(5), drawn(6)
    maps_alone = given | {level: other[level][:5] for level in MAPS}
    torch.testing.assert_close(head(maps_alone), head(given), rtol=0, atol=0)
    for name in map(name_spread, MAPS):
        assert (head(given | {name: other[name][:5]}) - head(given)).abs().min() > 1e-4, name


def test_a_spread_is_the_logarithm_of_a_channels_deviation_over_its_cells() -> None:
    maps = torch.stack([torch.zeros(2, 3), torch.tensor([[0.0, 2, 0], [2, 0, 2]])])[None]
    found = compute_spreads(maps.half())
    assert found.shape == (1, 2, 1, 1)
    assert found.dtype == torch.float32
    expected = np.log([LEAST_DEVIATION, 1 + LEAST_DEVIATION])
    np.testing.assert_allclose(found.flatten(), expected, atol=1e-6)


def test_spreads_are_of_the_stores_own_maps_however_coarse_the_gates(run_extract: Extract) -> None:
    store, _ = run_extract(pool=1, dtype="float32")
    sides = {"neck": 2, name_spread("neck"): 1}
    data = load_scaled(store, sides, 32)
    assert data.pooled["neck"].shape[2:] == (2, 2)
    maps = store.read_features("neck", *store.commits[0].rows)[:, 0]
    own = data.pooled[name_spread("neck")][: len(maps), :, 0, 0]
    np.testing.assert_allclose(own, np.log(maps.std(axis=(2, 3)) + 1e-3), atol=1e-5)
    shapes = {name: tuple(values.shape[1:]) for name, values in data.pooled.items()}
    _, again = read_inputs(store, 0, np.arange(len(maps)), shapes, 32)  # type: ignore[arg-type]
    for name, values in again.items():
        assert torch.equal(values, data.pooled[name][: len(maps)]), name


def test_spreads_are_in_units_of_the_training_rows(run_extract: Extract) -> None:
    store, _ = run_extract(dtype="float32")
    sides = {name_spread(level): 1 for level in LEVELS}
    data = load_scaled(store, sides, 32)
    rows = data.find_rows("train")[::2]
    _, given = scale_inputs(data, store, rows).make_inputs(rows)
    for name, values in given.items():
        np.testing.assert_allclose(values.mean(dim=0), 0, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(values.std(dim=0, correction=0), 1, rtol=1e-3, err_msg=name)


def test_a_class_that_shows_in_the_spread_alone_is_learned() -> None:
    torch.manual_seed(0)
    head = JoinedHead(CHANNELS, classes=2)
    labels = torch.arange(128) % 2
    neck = torch.randn(128, 16, 4, 4) * (1 + labels).view(-1, 1, 1, 1)
    neck -= neck.mean(dim=(2, 3), keepdim=True)
    given = drawn(128) | {name_spread("neck"): compute_spreads(neck)}
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
    train = {name: values[:64] for name, values in given.items()}
    for _ in range(30):
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(head(train), labels[:64]))
        optimizer.step()
    test = {name: values[64:] for name, values in given.items()}
    right = head.eval()(test).argmax(dim=1) == labels[64:]
    assert right.float().mean() > 0.95
