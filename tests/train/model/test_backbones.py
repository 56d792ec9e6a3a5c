"""Every backbone is cut, tapped and loaded as its own library means it."""

import gc
import weakref
from pathlib import Path

import pytest
import timm
import torch
import torchvision.models as models
from safetensors.torch import save_file
from torch._dynamo.testing import CompileCounter

from samcache.cache.errors import ConfigError
from samcache.train.model.backbones import BACKBONES, STAGES, build_backbone
from samcache.train.model.classifier import Classifier, Design
from samcache.train.model.stage_shapes import run_once

SIDE = 32
IMAGES = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
MAPS = {"neck": torch.randn(2, 6, 4, 4, generator=torch.Generator().manual_seed(1))}


def tapped(name: str, stage: str, fusion: str = "gate") -> Classifier:
    torch.manual_seed(0)
    backbone = build_backbone(name, 3, SIDE)
    return Classifier(backbone, Design({"neck": stage}, 2, fusion), {"neck": 6}, SIDE).eval()


def close_the_gates(model: Classifier, bias: float) -> None:
    """Make every gate the same constant, whatever the maps."""
    excite = model.attention["neck"].excite
    torch.nn.init.zeros_(excite.weight)
    torch.nn.init.constant_(excite.bias, bias)


@pytest.mark.parametrize("name", ["resnet18", "timm:resnet18"])
def test_without_taps_a_classifier_is_the_librarys_network(name: str) -> None:
    torch.manual_seed(0)
    if name.startswith("timm:"):
        whole = timm.create_model("resnet18", num_classes=3).eval()
    else:
        whole = getattr(models, name)(weights=None, num_classes=3).eval()
    torch.manual_seed(0)
    model = Classifier(build_backbone(name, 3, SIDE), Design({}, 4, "gate"), {}, SIDE).eval()
    with torch.no_grad():
        assert torch.equal(model(IMAGES, {})[0], whole(IMAGES))


@pytest.mark.parametrize("stage", [*STAGES, "layer3.0.bn1"])
@torch.no_grad()
def test_a_tap_gates_the_output_of_its_stage_alone(stage: str) -> None:
    model = tapped("resnet18", stage)
    net = model.backbone
    at = net.get_submodule(build_backbone("resnet18", 3).path(stage))
    seen = []
    at.register_forward_hook(lambda _m, _i, out: seen.append(out))
    close_the_gates(model, 100.0)
    open_gates = model(IMAGES, MAPS)
    close_the_gates(model, 0.0)
    half_open = model(IMAGES, MAPS)
    torch.testing.assert_close(seen[1], seen[0] / 2)
    assert not torch.equal(open_gates, half_open)
    plain = tapped("resnet18", stage).backbone
    plain.get_submodule(build_backbone("resnet18", 3).path(stage))._forward_hooks.clear()
    torch.testing.assert_close(open_gates[0], plain(IMAGES))


@pytest.mark.parametrize(
    "name",
    ["swin_v2_t", "timm:resnet10t", "timm:swinv2_cr_tiny_ns_224", "timm:convnext_atto",
     "timm:legacy_seresnet18", "timm:efficientnet_b0"],
)  # fmt: skip
@torch.no_grad()
def test_every_stage_of_every_family_can_be_tapped(name: str) -> None:
    backbone = build_backbone(name, 3, SIDE)
    assert set(backbone.stages) == set(STAGES)
    maps = dict.fromkeys(STAGES, MAPS["neck"])
    channels = dict.fromkeys(STAGES, 6)
    model = Classifier(backbone, Design({s: s for s in STAGES}, 2, "gate"), channels, SIDE).eval()
    (logits,) = model(IMAGES, maps)
    assert logits.shape == (2, 3)
    for stage in STAGES:
        assert not torch.equal(model(IMAGES, {**maps, stage: -maps[stage]})[0], logits), stage


@torch.no_grad()
def test_a_gate_is_at_the_same_place_in_an_nhwc_network() -> None:
    model = tapped("swin_v2_t", "stem", "residual")
    seen = []
    stem = model.backbone.get_submodule("features.0")
    stem.register_forward_hook(lambda _m, _i, out: seen.append(out))
    changed = MAPS["neck"].clone()
    changed[:, :, 1, 2] += 1
    model(IMAGES, MAPS)
    model(IMAGES, {"neck": changed})
    difference = (seen[0] - seen[1]).abs().sum(dim=(0, 3))  # (8, 8): a cell of the maps is 2 x 2
    assert (difference[2:4, 4:6] > 0).all()
    difference[2:4, 4:6] = 0
    assert (difference == 0).all()


def test_the_small_stem_keeps_the_images_size() -> None:
    net = build_backbone("resnet18", 3, SIDE, stem="small").net
    assert net.layer1(net.maxpool(net.conv1(IMAGES))).shape == (2, 64, SIDE, SIDE)
    with pytest.raises(ConfigError, match="a small stem is for ResNets, and swin_v2_t"):
        build_backbone("swin_v2_t", 3, SIDE, stem="small")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_pretrained_weights_get_a_new_head(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(1)
    state = models.resnet18(weights=None).state_dict()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": state}, path)
    else:
        save_file(state, path)
    loaded = build_backbone("resnet18", 3, pretrained=str(path)).net.state_dict()
    assert loaded["fc.weight"].shape == (3, 512)
    kept = [key for key in state if not key.startswith("fc.")]
    assert all(torch.equal(loaded[key], state[key]) for key in kept)
    same_classes = build_backbone("resnet18", 1000, pretrained=str(path)).net.state_dict()
    assert torch.equal(same_classes["fc.weight"], state["fc.weight"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet19", r"no backbone 'resnet19'.*did you mean resnet1"),
        ("senet154", r"no backbone 'senet154'.*timm:.*senet154"),
        ("timm:resnet15", r"timm [\d.]+ has no model 'resnet15'; did you mean timm:resnet15"),
    ],
)
def test_unknown_backbones_are_told_with_near_matches(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_backbone(name, 3)


def test_stages_that_cannot_be_tapped_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"no stage 'layer9'.*did you mean layer"):
        tapped("resnet18", "layer9")
    with pytest.raises(ConfigError, match=r"fc cannot be tapped.*\(1, 3\)"):
        tapped("resnet18", "fc")
    with pytest.raises(ConfigError, match=r"no stage 'stem'|cannot be tapped"):
        tapped("timm:vit_tiny_patch16_224", "stem")


def test_stages_that_a_network_only_claims_to_have_are_not_offered() -> None:
    backbone = build_backbone("timm:hrnet_w18_small", 3)
    modules = {path for path, _ in backbone.net.named_modules()}
    assert set(backbone.stages.values()) <= modules
    with pytest.raises(ConfigError, match=r"no stage .stem.*one of stage1, stage2, st"):
        backbone.path("stem")


def test_a_size_that_a_network_cannot_take_is_told() -> None:
    backbone = build_backbone("timm:inception_v3", 3, 32)
    with pytest.raises(ConfigError, match="cannot take images of 32 pixels"):
        run_once(backbone, 32)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    (tmp_path / "text.pth").write_text("root:x:0:0:root:/root:/bin/bash\n", "ascii")
    (tmp_path / "folder.safetensors").mkdir()
    torch.save({"a": Path("/")}, tmp_path / "object.pth")
    for file, message in (
        ("x.safetensors", "belong to another network"),
        ("bad.pth", "not a file of tensors"),
        ("text.pth", "not a file of tensors"),
        ("object.pth", "not a file of tensors"),
        ("folder.safetensors", "no weights at"),
        ("none.pth", "no weights at"),
    ):
        with pytest.raises(ConfigError, match=message):
            build_backbone("resnet18", 3, pretrained=str(tmp_path / file))


def test_backbones_are_named_in_the_help() -> None:
    assert {"resnet18", "resnet152", "swin_v2_b"} <= set(BACKBONES)


def test_a_classifiers_memory_is_free_as_soon_as_nobody_holds_it() -> None:
    model = tapped("resnet18", "stage4")
    model(IMAGES, MAPS).sum().backward()
    held = weakref.ref(model.backbone.conv1)
    gc.disable()
    try:
        del model
        assert held() is None, "it waits for Python to look for rings of references"
    finally:
        gc.enable()


def test_a_tapped_classifier_is_compiled_as_one_program() -> None:
    counter = CompileCounter()
    torch._dynamo.reset()
    model = tapped("resnet18", "stage4")
    model.compile(backend=counter)
    for _ in range(2):
        model(IMAGES, MAPS)
    assert counter.frame_count == 1
