"""A finished run, which predicts the classes of images or of a store's samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from PIL import Image, ImageOps

from samcache.api.store import Store
from samcache.cache.errors import ConfigError
from samcache.cache.objects.location import is_remote
from samcache.cache.objects.place_kind import is_store
from samcache.cache.store import Store as StoredFeatures
from samcache.extract.encoders.of_identity import GivenEncoder
from samcache.extract.images.colour import Window, parse_window, to_rgb
from samcache.extract.images.decode import pixels_to_image
from samcache.extract.live import open_live_encoder
from samcache.extract.sources.base import Source, SourceImage
from samcache.extract.sources.inputs import Inputs, open_inputs
from samcache.extract.sources.options import SourceOptions
from samcache.extract.sources.recorded_reading import follow_run
from samcache.train.predict import predict_store
from samcache.train.runs.ensemble import Ensemble, load_ensemble, open_predictor
from samcache.train.runs.prediction_rows import list_columns, make_rows
from samcache.train.runs.run import Run as FinishedRun
from samcache.train.runs.store import GIVE_STORES, open_stores_of_features, refuse_several_stores

OneImage = str | Path | Image.Image | npt.NDArray[np.uint8]


def load_run(
    folder: str | Path,
    checkpoint: str | Path | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    encoder: str = "",
) -> Run:
    """Load the run that ``samcache train`` wrote to a folder; raises ConfigError for no such run.

    checkpoint: the encoder's weights, to predict images; None takes the official file. encoder:
    the name of your own encoder, whose code may be imported. device: None takes a GPU if there is
    one. batch_size: images that are encoded at a time; None is what fits.
    """
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    run = open_predictor(Path(folder))
    given = GivenEncoder(None if checkpoint is None else Path(checkpoint), encoder)
    return Run(run, load_ensemble(run, place), given, place, batch_size)


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run with the weights of its members, the classifiers that it averages."""

    _run: FinishedRun
    _ensemble: Ensemble
    _encoder: GivenEncoder
    _device: str
    _batch_size: int | None

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self._run.folder

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the outputs: classes, findings, grades, or a number."""
        return tuple(self._run.classes)

    @property
    def members(self) -> tuple[str, ...]:
        """The names of the classifiers that are averaged, such as "seed-0"."""
        return tuple(self._run.members)

    def predict(
        self, images: OneImage | Sequence[OneImage] | Store, split: str | None = None
    ) -> pd.DataFrame:
        """Predict the class of images, or of a store's samples (of one split, or of all).

        images: a store of the same features, opened or its path; the paths of several stores, for
        a run of several; or one or several paths (files, folders, manifests), Pillow images, or
        arrays (H, W) or (H, W, 3) uint8. Images are encoded as the images of the run's store were.

        Returns a line an image with the columns and the values of ``samcache predict``: id,
        predicted, p_<class> for each class, sd, and reason for an image that cannot be read.
        Raises SamcacheError for inputs or a checkpoint that do not fit the run.
        """
        found = [
            row
            for store in self._open_stores(images)
            for part in predict_store(self._run, self._ensemble, store, _choose(store, split))
            for row in make_rows(part, self._run.target, None)
        ]
        return pd.DataFrame(found, columns=list_columns(self._run.target, False))

    def _open_stores(self, images: Any) -> Iterator[StoredFeatures]:
        """The store, or the images in temporary stores, one after another."""
        given = list(images) if isinstance(images, list | tuple) else [images]
        if isinstance(images, Store):
            yield images._features
        elif given and all(map(_names_store, given)):
            yield open_stores_of_features(self._run, given)
        else:
            refuse_several_stores(self._run, GIVE_STORES)
            inputs = self._open_inputs(given)
            run, size = self._run, self._batch_size
            encoder = open_live_encoder(run.identity, self._encoder, self._device, size)
            yield from encoder.fill_stores(inputs)

    def _open_inputs(self, given: list[Any]) -> list[Inputs]:
        window = parse_window(self._run.identity.window)
        if all(isinstance(one, str | Path) for one in given):
            asked = SourceOptions(window=window)
            reading = follow_run(asked, self._run.pixel_options, str(self.folder))
            return open_inputs([str(one) for one in given], reading, hash_ids=False)
        source = ImagesInMemory([_convert_to_image(one, window) for one in given])
        return [Inputs(source, source.samples)]

    def __repr__(self) -> str:
        names = f"classes {', '.join(self.classes)}; members {', '.join(self.members)}"
        return f"Run({str(self.folder)!r}): {names}"


def _choose(store: StoredFeatures, split: str | None) -> pd.DataFrame:
    """The samples of one split, or all."""
    samples = store.samples
    return samples if split is None else samples[samples["split"] == split]


class ImagesInMemory(Source):
    """Pillow images in RGB; an image's id is its place among them."""

    def __init__(self, images: list[Image.Image]) -> None:
        ids = [str(place) for place in range(len(images))]
        table = pd.DataFrame({"id": ids, "label": 0, "split": "test", "group": ""})
        super().__init__("images", ("",), table, "source")
        self._images = images

    def read_image(self, row: int) -> SourceImage:
        image = self._images[row]
        sha256 = hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()
        return SourceImage(sha256, image.copy)

    def take(self, rows: list[int]) -> ImagesInMemory:
        taken = ImagesInMemory([self._images[row] for row in rows])
        taken.samples["id"] = self.samples["id"].iloc[rows].to_numpy()
        return taken


def _convert_to_image(given: Any, window: Window | None) -> Image.Image:
    """A Pillow image or an array in RGB, as the same image in a file is decoded."""
    if isinstance(given, Image.Image):
        upright = ImageOps.exif_transpose(given)
        return to_rgb(upright, getattr(given, "tag_v2", {}), window)
    found = type(given).__name__
    if isinstance(given, np.ndarray):
        colours = (1,) if given.ndim == 2 else given.shape[2:]
        if given.dtype == np.uint8 and colours in ((1,), (3,)):
            return pixels_to_image(given)
        found = f"{given.dtype} {given.shape}"
    raise ConfigError(
        "images should be paths, or Pillow images and uint8 arrays (H, W) or (H, W, 3), found "
        f"{found}"
    )


def _names_store(given: Any) -> bool:
    return isinstance(given, str | Path) and (is_remote(given) or is_store(Path(given)))
