"""A finished run as one module: its members, each with its own scales, and their mean."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from samcache.cache.errors import ConfigError, StoreError, read_first_line
from samcache.cache.format.layout import IMAGES
from samcache.cache.format.pixel_options import MIXED, PixelOptions
from samcache.cache.memory import ran_out_of_memory
from samcache.cache.store import Store
from samcache.train.data.prepare_inputs import MapShape
from samcache.train.fit.precision import forbid_tf32
from samcache.train.fit.training import LABELS
from samcache.train.model.attention_maps import compute_attention_maps
from samcache.train.model.backbones import build_backbone
from samcache.train.model.classifier import Classifier
from samcache.train.runs.errors import explain_no_access
from samcache.train.runs.run import Run, open_run
from samcache.train.runs.store import check_count
from samcache.train.scores.ensemble_mean import average_members
from samcache.train.tasks.targets.base import Target

_NEEDED = ("classes", "image_size", "backbone", "stem")  # of config.json
_CONTROLS = ("shuffled", "random")  # their features are no image's own


def open_predictor(folder: Path) -> Run:
    """Open a run that can predict; raises ConfigError where there is none, or it is a control."""
    run = open_run(folder)
    check_predictor(run)
    return run


def check_predictor(run: Run) -> None:
    """Raise ConfigError where a run cannot predict, or lacks what predictions need."""
    for name in _NEEDED:
        run.read_option(name)
    for part in ("target", "inputs", "identity", "pixel_options", "design", "members"):
        getattr(run, part)
    if (attention := run.config.get("attention")) in _CONTROLS:
        raise ConfigError(
            f"{run.folder} is a control, attention {attention}, that was not given its images' own "
            "features: it can be compared, but cannot predict"
        )
    if not run.members:
        raise ConfigError(
            f"{run.folder} has no member that was trained on all training rows: train with 1 "
            "among the fractions",
            hint="fractions",
        )


def check_features(run: Run, store: Store) -> None:
    """Raise StoreError, naming the fields, where a store holds other features than the run's.

    Further views do not matter: all predictions are made from the first.
    """
    check_count(run, len(store.parts))
    for part, used in zip(store.parts, run.used_stores, strict=True):
        if differences := used.list_differences(part):
            raise StoreError(
                f"{part.location} holds other features than {run.folder} was trained on: "
                f"{'; '.join(differences)}: extract with the run's settings"
                + ("" if len(store.parts) > 1 else ", or give the images")
            )
        _refuse_other_frames(run, part, used.pixel_options)


def _refuse_other_frames(run: Run, store: Store, used: PixelOptions) -> None:
    """Raise StoreError where a store has other frames of its files than the run's had.

    Where one of them records nothing, both are taken as they are.
    """
    recorded = PixelOptions.from_record(store.provenance) or PixelOptions()
    here, wanted = recorded.frames, used.frames
    known = None not in (here, wanted) and MIXED not in (here, wanted)
    if known and here != wanted:
        raise StoreError(
            f"{store.location} holds {here} frames of its files, {run.folder} was trained on "
            f"{wanted}: extract with that, or give the images",
            hint="frames",
        )


class Scaling(nn.Module):
    """Values in units of a member's training rows: (x - mean) / std per channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("std", torch.ones(channels, 1, 1))

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, H, W) of any dtype -> float32, as ``Scale.apply``."""
        return (values.float() - self.mean) / self.std

    def undo(self, values: Tensor) -> Tensor:
        """(B, C) in units of the training rows -> in their own."""
        return values * self.std.flatten() + self.mean.flatten()


class TrainedMember(nn.Module):
    """One training's kept epoch, from pixels and pooled maps to the target's outputs."""

    target: Target

    def __init__(
        self, classifier: Classifier, inputs: Mapping[str, MapShape], target: Target
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.target = target
        channels = {IMAGES: 3} | {level: shape[0] for level, shape in inputs.items()}
        if target.scaled:
            channels[LABELS] = 1
        self.scales = nn.ModuleDict({name: Scaling(count) for name, count in channels.items()})

    def standardise(self, pooled: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Level -> maps (B, C, h, w) float32 in units of the training rows."""
        return {level: self.scales[level](maps) for level, maps in pooled.items()}

    def forward(self, images: Tensor, pooled: Mapping[str, Tensor]) -> Tensor:
        """Outputs (B, K); images and pooled maps as in ``Ensemble.forward``."""
        logits = self.classifier(self.scales[IMAGES](images), self.standardise(pooled))
        outputs = self.target.activate(logits.mean(dim=0))
        if not self.target.scaled:
            return outputs
        return cast(Scaling, self.scales[LABELS]).undo(outputs)


class Ensemble(nn.Module):
    """The members of a run, averaged in probability."""

    def __init__(self, members: Mapping[str, TrainedMember]) -> None:
        super().__init__()
        self.names = tuple(members)
        self.members = nn.ModuleList(members.values())

    def predict_each(self, images: Tensor, pooled: Mapping[str, Tensor]) -> Tensor:
        """Every member's probabilities, (M, B, K) float32; inputs as in ``forward``."""
        return torch.stack([member(images, pooled) for member in self.members])

    def forward(self, images: Tensor, pooled: Mapping[str, Tensor]) -> Tensor:
        """The mean of the members' probabilities, (B, K) float32.

        images: (B, 3, S, S) RGB from 0 to 255 of any dtype, as a store's cached images scaled to
        the run's image size. pooled: level -> (B, C, h, w), as a store has them, averaged to the
        run's cells, and name of its spreads -> (B, C, 1, 1) (spreads.py), none of it standardised.
        """
        return average_members(self.predict_each(images, pooled))

    @torch.no_grad()
    def average_attention(self, pooled: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Level -> (B, h, w) in [0, 1] on the CPU: ``compute_attention_maps``, mean over members.

        pooled: as in ``forward``.
        """
        found = [
            compute_attention_maps(member.classifier, member.standardise(pooled))
            for member in self.members
            if isinstance(member, TrainedMember)
        ]
        return {
            level: torch.stack([maps[level] for maps in found]).mean(dim=0) for level in found[0]
        }


def load_ensemble(run: Run, device: str = "cpu", member: str | None = None) -> Ensemble:
    """The run's members, or one by its name, in evaluation mode on a device.

    Raises ConfigError for an unknown member and for files that are not this run's.
    """
    forbid_tf32()
    names = run.members if member is None else (member,)
    if not set(names) <= set(run.members):
        raise ConfigError(f"{run.folder} has no member {member!r}: {', '.join(run.members)}")
    ensemble = Ensemble({name: _load_member(run, name) for name in names})
    return ensemble.eval().requires_grad_(False).to(device)


def _load_member(run: Run, name: str) -> TrainedMember:
    path = run.find_weights(name)
    backbone = build_backbone(
        run.read_option("backbone"), run.target.logits, run.image_size, stem=run.read_option("stem")
    )
    channels = {level: shape[0] for level, shape in run.inputs.items()}
    classifier = Classifier(backbone, run.design, channels, run.image_size)
    member = TrainedMember(classifier, run.inputs, run.target)
    try:
        member.load_state_dict(load_file(run.find_file(path.name)))
    except PermissionError as error:
        raise explain_no_access(error) from None
    except FileNotFoundError:
        raise ConfigError(
            f"{path} is missing: copy it from the original run folder, or train it again"
        ) from None
    except (OSError, ValueError, SafetensorError, RuntimeError) as error:
        if ran_out_of_memory(error):
            raise
        other = "its tensors are another classifier's"  # torch tells each on a line of its own
        reason = other if isinstance(error, RuntimeError) else read_first_line(error)
        raise ConfigError(
            f"{path} holds no weights of this run ({reason}): copy it from the original run "
            "folder, or train it again"
        ) from None
    return member
