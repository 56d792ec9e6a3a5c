"""The joined head: begins as nothing, reads what the maps hold and not where, and learns it."""

import torch
from torch import Tensor
from torch.nn import functional as F

from samcache.train.backbones import build_backbone
from samcache.train.classifier import Classifier, Design
from samcache.train.joined_head import JoinedHead

CHANNELS = {"patch": 8, "neck": 16}
TAPS = {"patch": "stem", "neck": "stage4"}


def drawn(count: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(count)
    return {
        level: torch.randn((count, channels, 4, 4), generator=generator)
        for level, channels in CHANNELS.items()
    }


def classifier(join: bool) -> Classifier:
    torch.manual_seed(0)
    backbone = build_backbone("resnet18", 2, 32)
    return Classifier(backbone, Design(TAPS, 4, "gate", join), CHANNELS, 32).eval()


def test_a_classifier_begins_as_without_it() -> None:
    images, pooled = torch.randn(3, 3, 32, 32), drawn(3)
    with_head, without = classifier(join=True), classifier(join=False)
    torch.testing.assert_close(with_head(images, pooled), without(images, pooled))
    torch.nn.init.ones_(with_head.joined.logits.bias)
    torch.testing.assert_close(with_head(images, pooled), without(images, pooled) + 1)


def test_it_joins_a_backbone_that_nothing_gates() -> None:
    backbone = build_backbone("resnet18", 2, 32)
    model = Classifier(backbone, Design({}, 4, "gate", join=True), CHANNELS, 32).eval()
    torch.nn.init.normal_(model.joined.logits.weight)
    images = torch.zeros(4, 3, 32, 32)
    assert model(images, drawn(4)).std(dim=0).min() > 1e-3
    assert model.gates(drawn(4)) == {}


def test_it_reads_what_a_map_holds_and_not_where() -> None:
    head = JoinedHead(CHANNELS, classes=3).eval()
    torch.nn.init.normal_(head.logits.weight)
    pooled = drawn(5)
    elsewhere = {level: maps.flip(2).transpose(2, 3) for level, maps in pooled.items()}
    torch.testing.assert_close(head(elsewhere), head(pooled))
    louder = {level: maps * 2 for level, maps in pooled.items()}
    assert (head(louder) - head(pooled)).abs().min() > 1e-4


def test_maps_of_one_cell_have_no_spread_and_give_finite_logits() -> None:
    head = JoinedHead(CHANNELS, classes=2).train()
    torch.nn.init.normal_(head.logits.weight)
    pooled = {level: maps[:, :, :1, :1] for level, maps in drawn(4).items()}
    assert head(pooled).isfinite().all()


def test_a_class_that_shows_in_the_spread_alone_is_learned() -> None:
    torch.manual_seed(0)
    head = JoinedHead(CHANNELS, classes=2)
    labels = torch.arange(128) % 2
    pooled = drawn(128)
    pooled["neck"] = pooled["neck"] * (1 + labels).view(-1, 1, 1, 1)
    pooled = {level: maps - maps.mean(dim=(2, 3), keepdim=True) for level, maps in pooled.items()}
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
    train = {level: maps[:64] for level, maps in pooled.items()}
    for _ in range(30):
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(head(train), labels[:64]))
        optimizer.step()
    test = {level: maps[64:] for level, maps in pooled.items()}
    right = head.eval()(test).argmax(dim=1) == labels[64:]
    assert right.float().mean() > 0.95
