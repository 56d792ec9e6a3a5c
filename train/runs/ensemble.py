"""A finished run as one module: its members, each with its own standardisation, and their mean."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from samcache.cache.errors import ConfigError, StoreError, first_line
from samcache.cache.format.identity import Identity
from samcache.cache.format.layout import IMAGES
from samcache.cache.format.reading import MIXED, Reading
from samcache.cache.memory import ran_out_of_memory
from samcache.cache.store import Store
from samcache.train.data.prepare_inputs import MapShape
from samcache.train.fit.precision import forbid_tf32
from samcache.train.model.backbones import build_backbone
from samcache.train.model.classifier import Classifier, Design
from samcache.train.pictures.attention_maps import attention_maps
from samcache.train.runs.read import RunFiles, not_permitted, open_files, told_of_run
from samcache.train.tasks.splits import member_name

_CONTROLS = ("shuffled", "random")  # their features are no image's own
_ONE_VIEW = ("identity",)


@dataclass(frozen=True)
class TrainedRun:
    """What a finished run folder says of how to predict with it.

    image_size: side of the classifier's images. inputs: level -> (C, h, w) of the pooled maps that
    it is given. identity: of the features that it was trained on. reading: of the images that they
    were made from. members: the stems of the files of those that were trained on all training
    rows, over seeds and folds.
    """

    files: RunFiles
    classes: tuple[str, ...]
    ordered: bool
    image_size: int
    inputs: dict[str, MapShape]
    identity: Identity
    reading: Reading
    members: tuple[str, ...]
    backbone: str
    stem: str
    design: Design

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.files.folder

    def weights(self, member: str) -> Path:
        """The file of a member's weights."""
        return self.folder / f"{member}.safetensors"


def open_run(folder: Path) -> TrainedRun:
    """Read a run folder; raises ConfigError where it holds no finished run that can predict."""
    with told_of_run(folder):
        files = open_files(folder)
        run = _parse(files)
    if (attention := files.config.get("attention")) in _CONTROLS:
        raise ConfigError(
            f"{folder} is a control, --attention {attention}, that was not given its "
            "images' own features: it can be compared, but predicts nothing"
        )
    if not run.members:
        raise ConfigError(
            f"{folder} has no member that was trained on all training rows: train with 1 among "
            "--fractions"
        )
    return run


def _parse(files: RunFiles) -> TrainedRun:
    """What the checked fields of a run's files say; raises KeyError where one is absent."""
    config = files.config
    members = [
        member_name(member["seed"], member["fold"], 1)
        for member in files.results["members"]
        if member["fraction"] == 1
    ]
    return TrainedRun(
        files=files,
        classes=tuple(config["classes"]),
        ordered=config["ordered"],
        image_size=config["image_size"],
        inputs={level: tuple(shape) for level, shape in config["inputs"].items()},
        identity=Identity.from_json(config["identity"]),
        reading=Reading.recorded(config) or Reading(),
        members=tuple(members),
        backbone=config["backbone"],
        stem=config["stem"],
        design=Design(
            taps=config["taps"] or {},
            reduction=config["reduction"],
            fusion=config["fusion"],
            join=config["join"],
        ),
    )


def check_features(run: TrainedRun, store: Store) -> None:
    """Raise StoreError, naming the fields, where a store holds other features than the run's.

    Further views do not matter: all predictions are made from the first.
    """
    found, wanted = (replace(i, views=_ONE_VIEW) for i in (store.identity, run.identity))
    differences = found.differences(wanted)
    if differences:
        raise StoreError(
            f"{store.location} holds other features than {run.folder} was trained on: "
            f"{'; '.join(differences)}: extract with the run's settings, or give the images"
        )
    _refuse_other_frames(run, store)


def _refuse_other_frames(run: TrainedRun, store: Store) -> None:
    """Raise StoreError where a store has other frames of its files than the run's had.

    Where one of them records nothing, both are taken as they are.
    """
    recorded = Reading.recorded(store.provenance) or Reading()
    here, wanted = recorded.frames, run.reading.frames
    known = None not in (here, wanted) and MIXED not in (here, wanted)
    if known and here != wanted:
        raise StoreError(
            f"{store.location} was read with --frames {here}, {run.folder} was trained on images "
            f"read with --frames {wanted}: extract with that, or give the images"
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


class TrainedMember(nn.Module):
    """One training's kept epoch, from pixels and pooled maps to probabilities."""

    def __init__(self, classifier: Classifier, inputs: Mapping[str, MapShape]) -> None:
        super().__init__()
        self.classifier = classifier
        channels = {IMAGES: 3} | {level: shape[0] for level, shape in inputs.items()}
        self.scales = nn.ModuleDict({name: Scaling(count) for name, count in channels.items()})

    def standardised(self, pooled: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Level -> maps (B, C, h, w) float32 in units of the training rows."""
        return {level: self.scales[level](maps) for level, maps in pooled.items()}

    def forward(self, images: Tensor, pooled: Mapping[str, Tensor]) -> Tensor:
        """Probabilities (B, K); images and pooled maps as in ``Ensemble.forward``."""
        logits = self.classifier(self.scales[IMAGES](images), self.standardised(pooled))
        probabilities: Tensor = logits.mean(dim=0).softmax(dim=1)
        return probabilities


class Ensemble(nn.Module):
    """The members of a run, averaged in probability."""

    def __init__(self, members: Mapping[str, TrainedMember]) -> None:
        super().__init__()
        self.names = tuple(members)
        self.members = nn.ModuleList(members.values())

    def each(self, images: Tensor, pooled: Mapping[str, Tensor]) -> Tensor:
        """Every member's probabilities, (M, B, K) float32; inputs as in ``forward``."""
        return torch.stack([member(images, pooled) for member in self.members])

    def forward(self, images: Tensor, pooled: Mapping[str, Tensor]) -> Tensor:
        """The mean of the members' probabilities, (B, K) float32.

        images: (B, 3, S, S) RGB from 0 to 255 of any dtype, as a store's cached images scaled to
        the run's image size. pooled: level -> (B, C, h, w), as a store has them, averaged to the
        run's cells, and name of its spreads -> (B, C, 1, 1) (spreads.py), none of it standardised.
        """
        return self.each(images, pooled).mean(dim=0)

    @torch.no_grad()
    def attention(self, pooled: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Level -> (B, h, w) in [0, 1] on the CPU: ``attention_maps``, averaged over the members.

        pooled: as in ``forward``.
        """
        found = [
            attention_maps(member.classifier, member.standardised(pooled))
            for member in self.members
            if isinstance(member, TrainedMember)
        ]
        return {
            level: torch.stack([maps[level] for maps in found]).mean(dim=0) for level in found[0]
        }


def load_ensemble(run: TrainedRun, device: str = "cpu", member: str | None = None) -> Ensemble:
    """The run's members, or one by its name, in evaluation mode on a device.

    Raises ConfigError for an unknown member and for files that are not this run's.
    """
    forbid_tf32()
    names = run.members if member is None else (member,)
    if not set(names) <= set(run.members):
        raise ConfigError(f"{run.folder} has no member {member!r}: {', '.join(run.members)}")
    ensemble = Ensemble({name: _load_member(run, name) for name in names})
    return ensemble.eval().requires_grad_(False).to(device)


def _load_member(run: TrainedRun, name: str) -> TrainedMember:
    path = run.weights(name)
    backbone = build_backbone(run.backbone, len(run.classes), run.image_size, stem=run.stem)
    channels = {level: shape[0] for level, shape in run.inputs.items()}
    classifier = Classifier(backbone, run.design, channels, run.image_size)
    member = TrainedMember(classifier, run.inputs)
    try:
        member.load_state_dict(load_file(run.files.path(path.name)))
    except PermissionError as error:
        raise not_permitted(error) from None
    except FileNotFoundError:
        raise ConfigError(
            f"{path} is missing: bring it from where the run was trained, or train it anew"
        ) from None
    except (OSError, ValueError, SafetensorError, RuntimeError) as error:
        if ran_out_of_memory(error):
            raise
        other = "its tensors are another classifier's"  # torch tells each on a line of its own
        reason = other if isinstance(error, RuntimeError) else first_line(error)
        raise ConfigError(
            f"{path} holds no weights of this run ({reason}): bring it from where the "
            "run was trained, or train it anew"
        ) from None
    return member
