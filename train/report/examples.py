"""Test images that were answered rightly and wrongly, with where SLCA lets the backbone pass."""

import base64
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from samcache.cache.errors import SamcacheError
from samcache.cache.store import Store
from samcache.train.data import read_inputs
from samcache.train.overlay import map_limits, overlay
from samcache.train.predictor import Ensemble, TrainedRun, load_ensemble, open_run
from samcache.train.report.facts import Facts, ReportedRun
from samcache.train.splits import member_name

_EACH = 2  # images right, and as many wrong, of a class
_MOST_CLASSES = 10
_PIXELS = 160

RGB = npt.NDArray[np.uint8]
Maps = dict[str, npt.NDArray[np.floating]]
Pictures = list[tuple[str, str]]  # name, PNG as a data URI


@dataclass(frozen=True)
class Example:
    """One test image and what was said of it."""

    id: str
    answer: str
    probability: float
    pictures: Pictures


@dataclass(frozen=True)
class ClassExamples:
    """The surest right and the surest wrong answers among a class's test images."""

    name: str
    total: int
    recognised: int
    right: list[Example]
    wrong: list[Example]


@dataclass(frozen=True)
class Examples:
    """Examples by class, of one seed; overlays: whether attention lies over them.

    missing: why there are no examples or no overlays, empty where there are both.
    """

    classes: list[ClassExamples]
    seed: int
    overlays: bool
    missing: str


def examples(facts: Facts) -> Examples:
    """Examples of each class from the first seed; of many classes, those with most test images."""
    run, seed = facts.run, facts.run.seeds[0]
    if facts.store is None:
        return Examples([], seed, False, f"the store cannot be read: {facts.no_store}")
    if not facts.store.identity.frame_size:
        return Examples([], seed, False, "the store holds no images")
    answers = _answers(run, facts.store)
    chosen = answers[answers["rank"] < _EACH]
    images = _images(facts.store, chosen)
    maps, missing = _attention(run, facts.store, chosen)
    pictures = _pictures(images, maps)
    sizes = answers["label"].value_counts()
    names = [name for name in run.classes if name in set(sizes.index[:_MOST_CLASSES])]
    classes = [_of_class(name, answers, chosen, pictures) for name in names]
    return Examples(classes, seed, bool(maps), missing)


def _answers(run: ReportedRun, store: Store) -> pd.DataFrame:
    """The first seed's answers for the test images that the store can show, the surest first.

    Columns id, label, fold, answer, probability, right, row, and rank among its class's answers
    that are as right or wrong, from 0.
    """
    own = run.test["seed"] == run.seeds[0]
    table = run.test.loc[own, ["id", "label", "fold"]].reset_index(drop=True)
    table = table.assign(
        answer=[run.classes[k] for k in run.probabilities[0].argmax(axis=1)],
        probability=run.probabilities[0].max(axis=1),
    )
    readable = store.samples[store.samples["status"] == "ok"]
    table = table.merge(readable[["id", "row"]], on="id")
    table["right"] = table["answer"] == table["label"]
    table = table.sort_values(["probability", "id"], ascending=[False, True])
    return table.assign(rank=table.groupby(["label", "right"]).cumcount())


def _of_class(
    name: str,
    answers: pd.DataFrame,
    chosen: pd.DataFrame,
    pictures: dict[str, Pictures],
) -> ClassExamples:
    own, shown = answers[answers["label"] == name], chosen[chosen["label"] == name]
    right, wrong = (
        [
            Example(sample, answer, float(probability), pictures[sample])
            for sample, answer, probability in zip(
                part["id"], part["answer"], part["probability"], strict=True
            )
        ]
        for part in (shown[shown["right"]], shown[~shown["right"]])
    )
    return ClassExamples(name, len(own), int(own["right"].sum()), right, wrong)


def _images(store: Store, chosen: pd.DataFrame) -> dict[str, RGB]:
    """Each sample's cached image, (P, P, 3) uint8, by id."""
    found = {}
    for name, row in zip(chosen["id"], chosen["row"], strict=True):
        image = Image.fromarray(store.read_images(row, row + 1)[0])
        found[name] = np.asarray(image.resize((_PIXELS, _PIXELS), Image.Resampling.LANCZOS))
    return found


def _attention(run: ReportedRun, store: Store, chosen: pd.DataFrame) -> tuple[dict[str, Maps], str]:
    """Each sample's attention by level, by id; and why there is none."""
    if run.config["attention"] == "none":
        return {}, ""
    try:
        trained, found = open_run(run.folder), {}
        for fold, samples in chosen.groupby("fold"):
            name = member_name(run.seeds[0], None if fold == "" else int(str(fold)), 1)
            ensemble = load_ensemble(trained, member=name)
            for sample, row in zip(samples["id"], samples["row"], strict=True):
                found[str(sample)] = _maps(trained, ensemble, store, int(row))
    except SamcacheError as error:
        return {}, " ".join(str(error).split())
    return found, ""


def _maps(trained: TrainedRun, ensemble: Ensemble, store: Store, row: int) -> Maps:
    shard = row // store.rows_per_shard
    _, pooled = read_inputs(store, shard, np.array([row]), trained.inputs, trained.image_size)
    return {level: maps[0].numpy() for level, maps in ensemble.attention(pooled).items()}


def _pictures(images: dict[str, RGB], maps: dict[str, Maps]) -> dict[str, Pictures]:
    """Each sample's image and overlays; a level's colours span what it has in all samples."""
    levels = list(next(iter(maps.values()), {}))
    limits = {
        level: map_limits({name: own[level] for name, own in maps.items()}) for level in levels
    }
    return {
        name: [
            ("image", _data_uri(image)),
            *((k, _data_uri(overlay(image, maps[name][k], limits[k]))) for k in levels),
        ]
        for name, image in images.items()
    }


def _data_uri(image: RGB) -> str:
    out = io.BytesIO()
    Image.fromarray(image).save(out, format="PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
