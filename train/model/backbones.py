"""Backbones by name, from torchvision or timm, and the names of their stages."""

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision.models as models
from safetensors.torch import load_file
from torch import Tensor, nn

from samcache.cache.errors import ConfigError, read_first_line
from samcache.cache.files.digest import hash_file
from samcache.cache.memory import ran_out_of_memory
from samcache.cache.text import count_are

_RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
_SWINS = ("swin_v2_t", "swin_v2_s", "swin_v2_b")
BACKBONES = _RESNETS + _SWINS
TIMM = "timm:"
DOWNLOAD = "download"  # in place of a file of pretrained weights

STAGES = ("stem", "stage1", "stage2", "stage3", "stage4")
_RESNET_STAGES = ("maxpool", "layer1", "layer2", "layer3", "layer4")
_SWIN_STAGES = ("features.0", "features.1", "features.3", "features.5", "features.7")


@dataclass(frozen=True)
class Backbone:
    """A classification network and where its stages end.

    net: images (B, 3, s, s) -> logits (B, K). stages: stage name -> path of the module whose output
    is the stage's. classes: K. nhwc: whether those outputs are (B, H, W, C) instead of
    (B, C, H, W).
    """

    net: nn.Module
    stages: Mapping[str, str]
    classes: int
    nhwc: bool

    def path(self, stage: str) -> str:
        """The module's path of a stage or of a path itself; raises ConfigError for neither."""
        path = self.stages.get(stage, stage)
        names = [name for name, _ in self.net.named_modules() if name]
        if path not in names:
            near = difflib.get_close_matches(stage, {*self.stages, *names}, cutoff=0.5)
            raise ConfigError(
                f"no stage {stage!r} in the backbone: expected one of {', '.join(self.stages)}, or "
                f"a module's path{_suggest(near)}"
            )
        return path


def build_backbone(
    name: str,
    classes: int,
    image_size: int = 224,
    *,
    pretrained: str | None = None,
    stem: str = "standard",
) -> Backbone:
    """A backbone with a head for so many classes, for images of one size.

    name: torchvision's name, or ``timm:NAME``. pretrained: a file of weights (safetensors or
    torch), or "download" for the library's own; None draws from torch's generator. stem "small"
    puts a 3x3 convolution of stride 1 in place of a ResNet's first two halvings. Raises ConfigError
    for unknown names and for weights that do not fit.
    """
    download = pretrained == DOWNLOAD
    if name.startswith(TIMM):
        backbone = _build_from_timm(name, classes, image_size, download)
    else:
        backbone = _build_from_torchvision(name, classes)
        if download:
            default = models.get_model_weights(name).DEFAULT
            with _report_download(name):
                state = default.get_state_dict(progress=True)
            _load_all_but_head(backbone.net, state, name)
    if pretrained and not download:
        _load_all_but_head(backbone.net, _read_weights(Path(pretrained)), pretrained)
    if stem == "small":
        _make_stem_small(backbone.net, name)
    return backbone


@contextmanager
def _report_download(name: str) -> Iterator[None]:
    """Turn the errors of a download into a ConfigError; URLError is an OSError."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if ran_out_of_memory(error):
            raise
        raise ConfigError(
            f"the weights of {name} cannot be downloaded ({read_first_line(error)[:200]}): "
            "download them on a machine with a network, and give the file",
            hint="pretrained",
        ) from None


def _build_from_torchvision(name: str, classes: int) -> Backbone:
    if name not in BACKBONES:
        known = [*BACKBONES, *(TIMM + each for each in timm.list_models())]
        near = difflib.get_close_matches(name, known) or difflib.get_close_matches(
            TIMM + name, known
        )
        raise ConfigError(
            f"no backbone {name!r}: expected one of {', '.join(BACKBONES)}, or timm:NAME"
            f"{_suggest(near)}"
        )
    net = models.get_model(name, weights=None, num_classes=classes)
    swin = name in _SWINS
    paths = _SWIN_STAGES if swin else _RESNET_STAGES
    return Backbone(net, dict(zip(STAGES, paths, strict=True)), classes, nhwc=swin)


def _build_from_timm(name: str, classes: int, image_size: int, download: bool) -> Backbone:
    short = name.removeprefix(TIMM)
    if not timm.is_model(short):
        near = [TIMM + each for each in difflib.get_close_matches(short, timm.list_models())]
        advice = _suggest(near) or ": timm.list_models() names them"
        raise ConfigError(f"timm {timm.__version__} has no model {short!r}{advice}")
    options: dict[str, Any] = {"num_classes": classes, "pretrained": download}
    with _report_download(name) if download else nullcontext():
        try:
            net = timm.create_model(short, img_size=image_size, **options)
        except TypeError:  # networks that take images of any size have no such argument
            net = timm.create_model(short, **options)
    modules = {path for path, _ in net.named_modules()}
    # of some networks timm names places that are no modules of them
    ends = [info["module"] for info in net.feature_info if info["module"] in modules]
    stages = dict(zip(STAGES[1:], ends[-4:], strict=False))
    if len(ends) > 4:
        stages["stem"] = ends[-5]
    elif stem := next((at for at in ("stem", "patch_embed") if hasattr(net, at)), None):
        stages["stem"] = stem
    return Backbone(net, stages, classes, nhwc=getattr(net, "output_fmt", "NCHW") == "NHWC")


def _read_weights(path: Path) -> dict[str, Tensor]:
    """A state dict from a safetensors or torch file, without unpickling objects."""
    if not path.is_file():
        raise ConfigError(f"no weights at {path}: give a file, or download", hint="pretrained")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:  # other files fail in zip, pickle and torch, each in its own manner
        raise ConfigError(
            f"{path} is not a file of tensors: give a state dict, as safetensors or torch.save "
            "writes it"
        ) from error
    state = found.get("state_dict", found) if isinstance(found, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ConfigError(f"{path} is not a state dict: save the network's state_dict()")
    return state


def hash_weights(pretrained: str | None) -> str | None:
    """SHA-256 of a file of pretrained weights; None of what a library downloads and checks."""
    return None if pretrained is None or pretrained == DOWNLOAD else hash_file(Path(pretrained))


def _load_all_but_head(net: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load weights; those of the last layer stay as drawn where the classes differ in number."""
    own = net.state_dict()
    head = [key for key in own if key.rpartition(".")[0] == _find_last_linear(net)]
    new_head = any(key in state and state[key].shape != own[key].shape for key in head)
    wanted = {key for key in own if not key.endswith("num_batches_tracked")}
    wanted -= set(head) if new_head else set()
    usable = {key: value for key, value in state.items() if key not in head or not new_head}
    lacking, surplus = sorted(wanted - usable.keys()), sorted(usable.keys() - own.keys())
    misfits = [key for key in usable.keys() & own.keys() if usable[key].shape != own[key].shape]
    if lacking or surplus or misfits:
        raise ConfigError(
            f"the weights of {source} belong to another network: "
            f"{count_are(len(lacking), 'tensor')} "
            f"missing, {len(surplus)} too many, {len(misfits)} of another shape, such as "
            f"{[*lacking, *surplus, *misfits][0]}; name their backbone",
            hint="backbone",
        )
    net.load_state_dict(usable, strict=False)


def _find_last_linear(net: nn.Module) -> str:
    names: list[str] = [n for n, module in net.named_modules() if isinstance(module, nn.Linear)]
    return names[-1]


def _make_stem_small(net: nn.Module, name: str) -> None:
    """3x3 stride 1 for a ResNet's 7x7 stride 2, and no max pooling (He et al. 2016, 4.2, CIFAR)."""
    first = getattr(net, "conv1", None)
    if not isinstance(first, nn.Conv2d) or not hasattr(net, "maxpool"):
        raise ConfigError(
            f"a small stem is for ResNets, and {name} has no such stem: leave it out", hint="stem"
        )
    net.conv1 = nn.Conv2d(3, first.out_channels, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
    net.maxpool = nn.Identity()


def _suggest(near: list[str]) -> str:
    return f"; did you mean {', '.join(near)}?" if near else ""
