"""``samcache export``: write a run as a program, and keep it only if it gives the same numbers."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from samcache.cache.errors import ConfigError
from samcache.cache.files.digest import hash_file
from samcache.cache.files.whole_file import replace_file
from samcache.cache.format.layout import IMAGES, make_feature_path
from samcache.cache.store import Store
from samcache.train.data.prepare_inputs import MapShape, group_by_level, prepare_maps
from samcache.train.data.resize import Resize
from samcache.train.predict import predict_store
from samcache.train.runs.ensemble import Ensemble
from samcache.train.runs.program_file import OUTPUT, Arguments, Exportable, Program, write_program
from samcache.train.runs.run import Run

TOLERANCE = 1e-5  # between the exported program's probabilities and ours
_SAMPLES = 16  # of a store, at most


@dataclass(frozen=True)
class Trial:
    """What a program is given, and the probabilities (B, K) that it should give."""

    what: str  # in the singular, such as "random input"
    arguments: Arguments
    expected: Tensor


@dataclass(frozen=True)
class Candidate:
    """A program that is kept if no trial's probability differs by more than the tolerance.

    description: of the inputs, and further entries of the JSON file.
    """

    exportable: Exportable
    trials: Sequence[Trial]
    description: Mapping[str, Any]
    tolerance: float = TOLERANCE


@dataclass(frozen=True)
class Exported:
    """What was written, and how far its output was from ours on what it was tried with."""

    path: Path
    members: tuple[str, ...]
    tried: Mapping[str, int]  # of what -> how many
    largest_difference: float


class StoreProgram(nn.Module):
    """From what a store keeps of images to an ensemble's probabilities."""

    def __init__(self, run: Run, ensemble: Ensemble) -> None:
        super().__init__()
        self.resize = Resize(run.identity.frame_size, run.image_size)
        self.ensemble = ensemble
        self.inputs = run.inputs

    def forward(self, images: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        """(B, K) float32, of images (B, 3, F, F) uint8 and level -> (B, C, h, w) as stored."""
        inputs = prepare_maps(maps, self.inputs)
        found: Tensor = self.ensemble(self.resize(images), inputs)
        return found


def list_levels_read(run: Run) -> tuple[str, ...]:
    """The levels whose maps a run reads, for its gates or for its joined head, by depth."""
    named = group_by_level(run.inputs)
    return tuple(level for level in run.identity.levels if level in named)


def export_classifier(
    run: Run,
    ensemble: Ensemble,
    shapes: Mapping[str, MapShape],
    path: Path,
    style: str,
    store: Store | None,
) -> Exported:
    """Write an ensemble as a program, and a JSON file that describes its inputs.

    shapes: (C, h, w) of the maps that a store keeps, of ``list_levels_read``. style: a key of
    SUFFIXES. The program is tried on random inputs and, with a store of the run's features,
    on samples against what predict makes of them. Raises ConfigError, and keeps no program, where a
    probability differs by more than TOLERANCE.
    """
    program = StoreProgram(run, ensemble)
    batch = Dim("batch")
    exportable = Exportable(
        module=program,
        example=_draw_arguments(run, shapes, 2),
        dynamic=({0: batch}, {level: {0: batch} for level in shapes}),
        names=[IMAGES, *shapes],
    )
    trials = [_make_random_trial(run, program, shapes, count) for count in (1, 3)]
    if store:
        trials += islice(_make_store_trials(run, ensemble, store, tuple(shapes)), 1)
    inputs = {IMAGES: describe_images(run)} | {
        level: describe_level(run, level, shape) for level, shape in shapes.items()
    }
    return keep_program(
        run, ensemble, Candidate(exportable, trials, {"inputs": inputs}), path, style
    )


def keep_program(
    run: Run,
    ensemble: Ensemble,
    candidate: Candidate,
    path: Path,
    style: str,
) -> Exported:
    """Write a program and its JSON file; raises ConfigError, and keeps neither, if one differs."""
    tried: dict[str, int] = {}
    for trial in candidate.trials:
        tried[trial.what] = tried.get(trial.what, 0) + len(trial.expected)
    with replace_file(path) as part, replace_file(path.with_name(f"{path.name}.json")) as beside:
        written = write_program(candidate.exportable, part, style)
        difference = _measure_difference(written, candidate.trials, candidate.tolerance)
        done = Exported(path, ensemble.names, tried, difference)
        described = {
            "format": style,
            "file": path.name,
            "sha256": hash_file(part),
            "members": done.members,
            **candidate.description,
            "output": {
                "name": OUTPUT,
                "shape": ["batch", len(run.classes)],
                "dtype": "float32",
                "what": run.target.describe_outputs(),
            },
            "classes": run.classes,
            "identity": asdict(run.identity),
            "reading": run.pixel_options.to_json(),
            "fingerprint": run.identity.compute_fingerprint(),
            "checked": {"tried": tried, "largest_difference": difference},
            "versions": {name: version(name) for name in ("samcache", "torch", "pillow")},
        }
        beside.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    return done


@torch.no_grad()
def _measure_difference(program: Program, trials: Sequence[Trial], tolerance: float) -> float:
    """The greatest difference of a probability; raises ConfigError above the tolerance."""
    gaps = [(program(*trial.arguments) - trial.expected).abs().max() for trial in trials]
    largest = float(torch.stack(gaps).max())
    if not largest <= tolerance:
        raise ConfigError(
            f"the exported program's probabilities differ by {largest:.2g} from the run's, more "
            f"than {tolerance:g}: it was not kept; try the other format",
            hint="format",
        )
    return largest


@torch.no_grad()
def _make_random_trial(
    run: Run, program: StoreProgram, shapes: Mapping[str, MapShape], count: int
) -> Trial:
    arguments = _draw_arguments(run, shapes, count)
    return Trial("random input", arguments, program(*arguments))


def _draw_arguments(run: Run, shapes: Mapping[str, MapShape], count: int) -> Arguments:
    generator = torch.Generator().manual_seed(count)
    frame, dtype = run.identity.frame_size, getattr(torch, run.identity.dtype)
    images = torch.randint(256, (count, 3, frame, frame), generator=generator, dtype=torch.uint8)
    maps = {
        level: torch.randn((count, *shape), generator=generator).to(dtype)
        for level, shape in shapes.items()
    }
    return images, maps


def _make_store_trials(
    run: Run, ensemble: Ensemble, store: Store, levels: tuple[str, ...]
) -> Iterator[Trial]:
    """For each shard: some rows as the store keeps them, and what predict makes of them."""
    for predicted in predict_store(run, ensemble, store):
        rows = predicted.samples["row"].to_numpy()[predicted.readable][:_SAMPLES]
        if len(rows) == 0:
            continue
        start, stop = int(rows.min()), int(rows.max()) + 1
        images = torch.from_numpy(store.read_images(start, stop)[rows - start])
        maps = {
            level: torch.from_numpy(store.read_features(level, start, stop)[rows - start, 0])
            for level in levels
        }
        expected = torch.from_numpy(predicted.mean[predicted.readable][:_SAMPLES])
        yield Trial("stored sample", (images.permute(0, 3, 1, 2), maps), expected)


def describe_images(run: Run) -> dict[str, Any]:
    """The program's input of a store's images, as plain values."""
    frame = run.identity.frame_size
    return {
        "shape": ["batch", 3, frame, frame],
        "dtype": "uint8",
        "range": [0, 255],
        "what": f"the rows of the store's array {IMAGES!r}, with axes in the order sample, rgb, y, "
        f"x: RGB, longest side scaled to {frame} pixels (Pillow's bilinear), padded below and to "
        "the right with 0",
    }


def describe_level(run: Run, level: str, shape: MapShape) -> dict[str, Any]:
    """The program's input of a level's maps, as plain values."""
    identity = run.identity
    pool = "" if identity.pool == 1 else f", averaged over {identity.pool} x {identity.pool} cells"
    return {
        "shape": ["batch", *shape],
        "dtype": identity.dtype,
        "range": "finite numbers",
        "what": f"the rows of the store's array {make_feature_path(level)!r}, the first view: "
        f"level {level} of the encoder of 'identity'{pool}; not standardised",
    }
