"""Any model of timm as an encoder, through timm's own ``forward_intermediates``."""

import difflib
import logging
import re
import sys
from collections.abc import Iterator
from functools import lru_cache, partial
from threading import get_ident
from typing import Any

import timm
import torch
from timm.data import resolve_data_config
from timm.models import PretrainedCfg, get_deprecated_models, get_pretrained_cfg
from torch import Tensor, nn

from samcache.cache.errors import CheckpointError, ConfigError
from samcache.extract.encoders.base import Architecture, AutocastEncoder, Levels
from samcache.extract.encoders.networks.timm_weights import fetch_weights
from samcache.extract.encoders.registry import TIMM
from samcache.extract.images.preprocess import describe_preprocessing

_log = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,128}", re.ASCII)  # no hf-hub:, local-dir: or path
_LISTS = ("blocks", "stages", "layers", "levels", "dense_stages", "transformers", "features")
_FIRST = ("layer1", "s1", "stage1", "level0")  # of networks without a list of stages


class TimmLevels(AutocastEncoder):
    """A network of timm without its classifier, with its intermediate maps.

    Numbers are timm's indices: blocks of a ViT, stages of a CNN. "patch" is what enters the first
    block, "neck" is what timm's ``forward_features`` returns. Tokens of no place (class, registers)
    are left out.
    """

    def __init__(self, name: str, image_size: int, levels: Levels) -> None:
        super().__init__(levels)
        self.network = _create_network(name, image_size)
        self.numbers = sorted(place for place in levels.values() if isinstance(place, int))
        self._entered: dict[int, Tensor] = {}  # by thread, since lanes share an encoder
        first = _find_first_block(self.network)
        if "patch" in levels.values() and first is not None:
            first.register_forward_pre_hook(self._keep_input)

    def compute_maps(self, x: Tensor) -> Iterator[tuple[str | int, Tensor]]:
        """Encode (B, 3, S, S) float32; yields (place, map (B, C, h, w)) of the wanted places.

        A place of which the network gives no map is left out. "patch" alone costs one block.
        """
        places = self.levels.values()
        numbers = self.numbers
        if "patch" in places and 0 not in numbers:
            numbers = [0, *numbers]  # its grid is the grid of the tokens that enter it
        self._entered.pop(get_ident(), None)  # of a batch that failed
        final, maps = self._run_network(x, None if "neck" in places else numbers)
        if "patch" in places and not hasattr(self.network, "unroll"):  # Hiera shuffles its patches
            # where there is no list of blocks, timm's first map is the stem's
            entered = self._entered.pop(get_ident(), maps[0])
            if (stem := self._lay_out(entered, maps[0])) is not None:
                yield "patch", stem
        for number in self.numbers:
            yield number, maps[number]
        if "neck" in places and (neck := self._lay_out(final, maps[max(maps)])) is not None:
            yield "neck", neck

    def _run_network(
        self, x: Tensor, numbers: list[int] | None
    ) -> tuple[object, dict[int, Tensor]]:
        """Final features and maps by number; with numbers these maps alone, and nothing deeper."""
        if numbers is None:
            final, maps = self.network.forward_intermediates(x)
            return final, dict(enumerate(maps))
        maps = self.network.forward_intermediates(
            x, indices=numbers, stop_early=True, intermediates_only=True
        )
        return None, dict(zip(numbers, maps, strict=True))

    def _keep_input(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._entered.setdefault(get_ident(), inputs[0])

    def _lay_out(self, found: object, like: Tensor) -> Tensor | None:
        """Tokens (B, N, C) or a map with channels first or last as (B, C, h, w); None for others.

        like: the map (B, C, h, w) whose grid the tokens have.
        """
        if not isinstance(found, Tensor):
            return None
        if found.ndim == 3 and found.shape[1] >= like.shape[2] * like.shape[3]:
            tokens = found[:, -like.shape[2] * like.shape[3] :]
            return tokens.transpose(1, 2).reshape(*tokens.shape[::2], *like.shape[2:])
        if found.ndim != 4:
            return None
        _, a, b, c = found.shape
        last = getattr(self.network, "output_fmt", "") == "NHWC" if b == c else a == b
        return found.permute(0, 3, 1, 2) if last and a == b else found

    def adapt(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """A checkpoint under timm's names and at this input size, without the classifier.

        timm's filter of the model's family renames and resamples. Where it fails, the weights stay
        as they are, for the check of names and shapes to describe.
        """
        heads = _list_classifiers(self.network)
        named = {
            name: weight
            for name, weight in _filter_weights(self.network, weights).items()
            if not name.startswith(heads)
        }
        # files from before 2018 lack these counters, which only training reads
        counters = {
            name: value
            for name, value in self.network.state_dict().items()
            if name.endswith("num_batches_tracked")
        }
        return {"network." + name: value for name, value in (counters | named).items()}


def make_timm_architecture(name: str) -> Architecture:
    """The architecture of a timm model, ``MODEL`` or ``MODEL.TAG``; no weights are read.

    Size, interpolation, mean and deviation are the model's own. Its crop is not used, since the
    whole image is kept. The recorded name always has the tag, so that timm's choice of a default
    tag changes no identity. Raises CheckpointError for an unknown model, ConfigError for a model
    that gives no maps.
    """
    return _describe_model(_resolve_name(name))


@lru_cache
def _describe_model(full: str) -> Architecture:
    data = _find_data(full)
    channels, *_ = data["input_size"]
    if channels != 3 or data["interpolation"] not in ("bilinear", "bicubic"):
        raise ConfigError(
            f"{TIMM}{full} takes {channels} channels scaled with {data['interpolation']}, expected "
            "3 with bilinear or bicubic: choose another model",
            hint="encoder",
        )
    size = _find_size(full)
    depth, reduction = _measure(full, size)
    return Architecture(
        image_size=size,
        granularity=reduction if size % reduction == 0 else 1,
        depth=depth,
        named={
            "early": max(-(-depth // 4) - 1, 0),
            "middle": max(-(-depth // 2) - 1, 0),
            "late": depth - 1,
        },
        preprocessing=describe_preprocessing(data["mean"], data["std"], data["interpolation"]),
        build=partial(TimmLevels, full),
        fetch=partial(fetch_weights, full),
        name=TIMM + full,
    )


def _resolve_name(name: str) -> str:
    """The model's name with its tag, if it has any tags."""
    known = timm.list_models()
    base, _, tag = name.partition(".")
    if not _NAME.fullmatch(name) or base not in known:
        current = get_deprecated_models().get(base) if _NAME.fullmatch(name) else None
        near = [current] if current else difflib.get_close_matches(base[:128], known)
        advice = (
            f"do you mean {' or '.join(TIMM + each for each in near)}?"
            if near
            else ("timm.list_models() lists the models")
        )
        raise CheckpointError(
            f"timm {timm.__version__} has no model {ascii(name)[:80]}: {advice}", hint="encoder"
        )
    try:
        found = get_pretrained_cfg(name)
    except RuntimeError:  # of an unknown tag
        tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{base}.*")]
        raise CheckpointError(
            f"timm {timm.__version__} has no weights {tag!r} of {base}: expected one of "
            f"{', '.join(tags[:8]) or 'none'}",
            hint="encoder",
        ) from None
    return f"{base}.{found.tag}" if found and found.tag else base


def _find_data(name: str) -> dict[str, Any]:
    """Size, interpolation, mean and deviation at evaluation, ImageNet's where timm has none."""
    found = get_pretrained_cfg(name)
    return resolve_data_config(  # type: ignore[no-any-return]
        pretrained_cfg=(found or PretrainedCfg()).to_dict(), use_test_size=True
    )


def _find_size(name: str) -> int:
    _, height, width = _find_data(name)["input_size"]
    return int(max(height, width))


def _measure(name: str, size: int) -> tuple[int, int]:
    """How many maps a model gives and their largest reduction; raises ConfigError without maps."""
    try:
        with torch.device("meta"), torch.no_grad():
            network = _create_network(name, size).eval()
            _, maps = network.forward_intermediates(torch.zeros(1, 3, size, size))
        if not maps or any(each.ndim != 4 for each in maps):
            raise ValueError
    except Exception:  # each network fails in its own way
        raise ConfigError(
            f"{TIMM}{name} gives no maps through timm's forward_intermediates: choose a model that "
            "does, such as timm:vit_small_patch14_dinov2 or timm:convnext_tiny",
            hint="encoder",
        ) from None
    return len(maps), max(each["reduction"] for each in network.feature_info)


def _create_network(name: str, size: int, num_classes: int = 0, **options: Any) -> Any:
    create = partial(timm.create_model, name, num_classes=num_classes, **options)
    try:
        return create(img_size=size)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
    return create()  # a network for all sizes


def _find_first_block(network: nn.Module) -> nn.Module | None:
    owner = getattr(network, "encoder", network)
    for name in _LISTS:
        if isinstance(blocks := getattr(owner, name, None), nn.Sequential | nn.ModuleList):
            return blocks[0]
    return next((getattr(owner, name) for name in _FIRST if hasattr(owner, name)), None)


def _list_classifiers(network: Any) -> tuple[str, ...]:
    """What the names of a classifier's weights begin with."""
    named = network.pretrained_cfg.get("classifier") or ()
    return tuple(f"{name}." for name in ([named] if isinstance(named, str) else named))


def _filter_weights(network: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights as timm's module of the network renames and resamples them, if it does."""
    module = sys.modules[type(network).__module__]
    filter_weights = getattr(module, "checkpoint_filter_fn", None)
    if filter_weights is None:
        return weights
    try:
        return dict(filter_weights(dict(weights), network))
    except Exception:  # a filter meets names and shapes that it does not know
        _log.debug("the filter of %s failed", module.__name__, exc_info=True)
        return weights
