"""``samcache export``: a run as a program of its own, kept only where it gives the same numbers."""

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from samcache.cache.digest import file_sha256
from samcache.cache.errors import ConfigError
from samcache.cache.layout import IMAGES
from samcache.cache.store import Store
from samcache.cache.whole_file import replace_file
from samcache.cache.wording import count_nouns
from samcache.train.data import read_inputs
from samcache.train.predictor import Ensemble, TrainedRun, check_features
from samcache.train.spreads import LEAST_DEVIATION, is_spread, level_of

Inputs = tuple[Tensor, dict[str, Tensor]]  # of Ensemble.forward, float32
Program = Callable[[Tensor, dict[str, Tensor]], Tensor]

SUFFIXES = {"torch": ".pt2", "onnx": ".onnx"}
OUTPUT = "probabilities"
TOLERANCE = 1e-5  # between the exported program's probabilities and ours
_SAMPLES = 16  # of a store, at most


@dataclass(frozen=True)
class Exported:
    """What was written, and how far its output was from ours on what it was tried with."""

    path: Path
    members: tuple[str, ...]
    random_inputs: int
    store_samples: int
    largest_difference: float

    def text(self) -> str:
        """A line for the terminal."""
        tried = f"{count_nouns(self.random_inputs, 'random input')}"
        if self.store_samples:
            tried += f" and {count_nouns(self.store_samples, 'sample')} of the store"
        return (
            f"{self.path}: {', '.join(self.members)}; on {tried} the largest difference of a "
            f"probability is {self.largest_difference:.1g}"
        )


def export(
    run: TrainedRun, ensemble: Ensemble, path: Path, style: str, store: Store | None
) -> Exported:
    """Write an ensemble as a torch.export program or as ONNX, and a JSON file of what it takes.

    style: a key of SUFFIXES. It is tried on random inputs, and on samples of a store of the run's
    features where one is given. Raises ConfigError where its output differs by more than TOLERANCE,
    and keeps nothing then.
    """
    program = _traced(run, ensemble)
    trials = [_random_inputs(run, count) for count in (1, 3)]
    sample = _store_inputs(run, store) if store else None
    write = _write_onnx if style == "onnx" else _write_torch
    with replace_file(path) as part, replace_file(path.with_name(f"{path.name}.json")) as beside:
        exported = write(program, run, part)
        tried = trials if sample is None else [*trials, sample]
        difference = _largest_difference(ensemble, exported, tried)
        counts = sum(len(images) for images, _ in trials), len(sample[0]) if sample else 0
        done = Exported(path, ensemble.names, *counts, difference)
        described = _description(run, done, style) | {"sha256": file_sha256(part)}
        beside.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    return done


def _traced(run: TrainedRun, ensemble: Ensemble) -> ExportedProgram:
    """The ensemble's operations, for batches of any size."""
    batch = Dim("batch")
    images, pooled = _random_inputs(run, 2)
    shapes = ({0: batch}, {level: {0: batch} for level in pooled})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing, which is checked by its outcome
        return torch.export.export(ensemble, (images, pooled), dynamic_shapes=shapes)


def _write_torch(program: ExportedProgram, _run: TrainedRun, path: Path) -> Program:
    """Write the program, and read it back.

    Through memory, since torch's own writer ends a full disk with lines of its C++.
    """
    content = BytesIO()
    torch.export.save(program, content)
    path.write_bytes(content.getbuffer())
    read: Program = torch.export.load(path).module()
    return read


def _write_onnx(program: ExportedProgram, run: TrainedRun, path: Path) -> Program:
    """Write ONNX with named inputs, and open it with onnxruntime on the CPU."""
    names = [IMAGES, *run.inputs]
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError:
        raise ConfigError(
            "--format onnx needs onnx, onnxruntime and onnxscript: pip install 'samcache[onnx]'"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            program,
            (),
            path,
            dynamo=True,
            input_names=names,
            output_names=[OUTPUT],
            external_data=False,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run_session(images: Tensor, pooled: dict[str, Tensor]) -> Tensor:
        values = {IMAGES: images.numpy(), **{k: maps.numpy() for k, maps in pooled.items()}}
        (found,) = session.run([OUTPUT], values)
        return torch.from_numpy(np.asarray(found))

    return run_session


@torch.no_grad()
def _largest_difference(ensemble: Ensemble, program: Program, trials: list[Inputs]) -> float:
    """The greatest difference of a probability; raises ConfigError above TOLERANCE."""
    gaps = [(program(*given) - ensemble(*given)).abs().max() for given in trials]
    largest = float(torch.stack(gaps).max())
    if not largest <= TOLERANCE:
        raise ConfigError(
            f"the exported program's probabilities differ by {largest:.2g} from the run's, more "
            f"than {TOLERANCE:g}: it was not kept; try the other --format"
        )
    return largest


def _random_inputs(run: TrainedRun, count: int) -> Inputs:
    generator = torch.Generator().manual_seed(count)
    images = torch.rand((count, 3, run.image_size, run.image_size), generator=generator) * 255
    pooled = {
        level: torch.randn((count, *shape), generator=generator)
        for level, shape in run.inputs.items()
    }
    return images, pooled


def _store_inputs(run: TrainedRun, store: Store) -> Inputs | None:
    """The first readable samples of a store, None where it has none."""
    check_features(run, store)
    samples = store.samples[store.samples["status"] == "ok"]
    shards = samples["row"].to_numpy() // store.rows_per_shard
    if len(shards) == 0:
        return None
    rows = samples["row"].to_numpy()[shards == shards[0]][:_SAMPLES]
    images, pooled = read_inputs(store, int(shards[0]), rows, run.inputs, run.image_size)
    return images.float(), {level: maps.float() for level, maps in pooled.items()}


def _description(run: TrainedRun, done: Exported, style: str) -> dict[str, Any]:
    """What whoever runs the program must know, as plain values."""
    side = run.image_size
    given = {
        name: {"shape": ["batch", *shape], "what": _meaning(name)}
        for name, shape in run.inputs.items()
    }
    images = {
        "shape": ["batch", 3, side, side],
        "what": "RGB from 0 to 255: the store's square frame of identity.frame_size, scaled to "
        f"{side} pixels (bilinear, antialiased)",
    }
    return {
        "format": style,
        "file": done.path.name,
        "members": done.members,
        "inputs": {IMAGES: images, **given},  # float32, not standardised: the program does that
        "output": {"name": OUTPUT, "shape": ["batch", len(run.classes)]},
        "classes": run.classes,
        "identity": asdict(run.identity),
        "reading": run.reading.to_json(),
        "fingerprint": run.identity.fingerprint(),
        "checked": {
            "random_inputs": done.random_inputs,
            "store_samples": done.store_samples,
            "largest_difference": done.largest_difference,
        },
        "versions": {name: version(name) for name in ("samcache", "torch")},
    }


def _meaning(name: str) -> str:
    """What stands under a name of the pooled inputs."""
    if is_spread(name):
        return (
            f"log(s + {LEAST_DEVIATION}), s each channel's standard deviation over the cells of "
            f"the store's map of level {level_of(name)}"
        )
    return f"level {name}, averaged to these cells"
