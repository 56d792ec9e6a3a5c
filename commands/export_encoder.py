"""``samcache export --with-encoder``: a run's encoder and classifiers in one program."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.export import Dim

from samcache.cache.format.identity import Identity
from samcache.cache.store import Store
from samcache.commands.show.trainings import describe_exported
from samcache.extract.encoders.of_identity import GivenEncoder, load_encoder_of
from samcache.extract.live import open_live_encoder
from samcache.extract.pipeline.image_program import ImageProgram
from samcache.extract.sources.inputs import open_inputs
from samcache.extract.sources.options import SourceOptions
from samcache.train.export import Candidate, StoreProgram, Trial, keep_program, list_levels_read
from samcache.train.predict import predict_store
from samcache.train.runs.ensemble import Ensemble
from samcache.train.runs.program_file import Exportable
from samcache.train.runs.run import Run

_SIZES = ((97, 150), (301, 90), (64, 64))  # of images of random pixels, height and width
_FRAMES = 4  # of the store
_NARROW = ("bfloat16", "float16")
# Of a probability. Sums differ between libraries and batch sizes in the last digits, and a rounding
# to float16 makes more of that; predict of a store and of its images agree as well as this.
_TOLERANCE = 1e-3
_ANY_DIFFERENCE = 1.0  # of an encoder in another precision: it is reported, and not judged


class ImageToProbabilities(nn.Module):
    """An image as an image file has it, to an ensemble's probabilities."""

    def __init__(self, image: ImageProgram, store: StoreProgram) -> None:
        super().__init__()
        self.image, self.store = image, store

    def forward(self, image: Tensor) -> Tensor:
        """(1, K) float32 of (1, 3, H, W) uint8 RGB."""
        found: Tensor = self.store(*self.image(image))
        return found


def export_with_encoder(
    run: Run,
    ensemble: Ensemble,
    path: Path,
    style: str,
    store: Store | None,
    given: GivenEncoder,
) -> Iterator[str]:
    """Write encoder and ensemble as one program; lines for the terminal.

    The program is tried on images, against what predict makes of the same images as files. ONNX's
    encoder computes in float32 even where the run recorded another precision; the difference is
    reported then, not judged. Raises CheckpointError for code or weights that are not the run's,
    ConfigError where a probability differs.
    """
    levels = list_levels_read(run)
    identity = run.identity
    precision = identity.precision
    if style == "onnx" and precision in _NARROW:
        precision = "float32"
    within = replace(identity, levels=levels, precision=precision)
    encoder = load_encoder_of(within, given) if levels else None
    program = ImageToProbabilities(ImageProgram(encoder, identity), StoreProgram(run, ensemble))
    exportable = Exportable(
        module=program.eval(),
        example=(torch.zeros(1, 3, 61, 83, dtype=torch.uint8),),
        dynamic=({2: Dim("height", min=2, max=1 << 15), 3: Dim("width", min=2, max=1 << 15)},),
        names=["image"],
    )
    trials = _make_trials(run, ensemble, store, given)
    same = precision == identity.precision
    description = {
        "inputs": {"image": _describe_program(identity)},
        "encoder_precision": precision if encoder else "none: the run reads no level",
        "run_precision": identity.precision,
    }
    tolerance = _TOLERANCE if same else _ANY_DIFFERENCE
    candidate = Candidate(exportable, trials, description, tolerance)
    done = keep_program(run, ensemble, candidate, path, style)
    yield describe_exported(done)
    if not same:
        yield (
            f"the run's encoder computes in {identity.precision}, the program's in {precision}: "
            f"probabilities differ from predict by up to {done.largest_difference:.1g} on these"
        )


def _describe_program(identity: Identity) -> dict[str, object]:
    return {
        "shape": [1, 3, "height", "width"],
        "dtype": "uint8",
        "range": [0, 255],
        "what": "one 8-bit RGB image, at least 2 pixels high and wide, turned as its EXIF says and "
        "not scaled: the program scales, pads and normalises",
        "not_included": "turning DICOM, deep grey, colour profiles and transparency into RGB, as "
        f"predict does (window {identity.window})",
    }


def _make_trials(
    run: Run, ensemble: Ensemble, store: Store | None, given: GivenEncoder
) -> list[Trial]:
    """Images as PNG files, and the probabilities that predict gives them, encoded on the CPU."""
    images = _choose_images(store)
    with tempfile.TemporaryDirectory(prefix="samcache-") as folder:
        files = []
        for number, (_, pixels) in enumerate(images):
            files.append(str(Path(folder) / f"{number:03}.png"))
            Image.fromarray(pixels).save(files[-1])
        live = open_live_encoder(run.identity, given, "cpu", None)
        found = open_inputs(files, SourceOptions(), hash_ids=False)
        stores = live.fill_stores(found)
        parts = [
            torch.from_numpy(predicted.mean)
            for encoded in stores
            for predicted in predict_store(run, ensemble, encoded)
        ]
    expected = torch.cat(parts)
    return [
        Trial(what, (torch.from_numpy(pixels).permute(2, 0, 1)[None],), expected[[place]])
        for place, (what, pixels) in enumerate(images)
    ]


def _choose_images(store: Store | None) -> list[tuple[str, np.ndarray]]:
    """What they are, and (H, W, 3) uint8, of random pixels and of a store's first frames."""
    rng = np.random.default_rng(0)
    drawn = [("random image", rng.integers(0, 256, (*size, 3)).astype(np.uint8)) for size in _SIZES]
    if store is None:
        return drawn
    samples = store.samples
    rows = samples["row"][samples["status"] == "ok"].to_numpy()[:_FRAMES]
    frames = [store.read_images(int(row), int(row) + 1)[0] for row in rows]
    return drawn + [("stored image", frame) for frame in frames]
