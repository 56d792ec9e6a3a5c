"""Test images with right and wrong answers, and the gates of every level over them."""

import base64
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from samcache.cache.errors import SamcacheError
from samcache.cache.store import Store
from samcache.train.data.load import read_inputs
from samcache.train.pictures.overlay import Map, describe_range, draw_panel
from samcache.train.report.facts import Facts, ReportedRun
from samcache.train.runs.ensemble import Ensemble, check_predictor, load_ensemble
from samcache.train.runs.run import Run
from samcache.train.tasks.splits import name_member

_EACH = 2  # images right, and as many wrong, of a class
_MOST_CLASSES = 10
_INCHES = 1.2  # a picture's side, so that its text can be read on a phone

RGB = npt.NDArray[np.uint8]
Maps = dict[str, Map]


@dataclass(frozen=True)
class Example:
    """One test image and its answer.

    picture: a PNG as data URI. gates: the range of each level's gates in words, or "".
    """

    id: str
    answer: str
    probability: float
    picture: str
    gates: str


@dataclass(frozen=True)
class ClassExamples:
    """The right and the wrong answers of highest probability among a class's test images."""

    name: str
    total: int
    recognised: int
    right: list[Example]
    wrong: list[Example]


@dataclass(frozen=True)
class Examples:
    """Examples by class; overlays: whether the gates are drawn over them.

    missing: why there are no examples or no overlays, empty where there are both.
    """

    classes: list[ClassExamples]
    overlays: bool
    missing: str

    def lack(self) -> str:
        """A sentence on what is not shown, and why; "" where nothing is missing."""
        if not self.missing:
            return ""
        what = "Gates cannot be shown" if self.classes else "There are no examples"
        return f"{what}: {self.missing}."


def choose_examples(facts: Facts) -> Examples:
    """Examples of each class; of many classes, those with most test images."""
    run, store = facts.run, facts.store
    if store is None:
        return Examples([], False, facts.no_store)
    if not store.identity.frame_size:
        return Examples([], False, "the store holds no images")
    answers = _gather_answers(run)
    chosen = _choose(answers, store)
    maps, missing = _compute_gates(run, store, chosen)
    sizes = answers["label"].value_counts()
    names = [name for name in run.classes if name in set(sizes.index[:_MOST_CLASSES])]
    classes = [
        _gather_class(name, answers, _make_examples(chosen, store, maps, name)) for name in names
    ]
    return Examples(classes, bool(maps), missing)


def _gather_answers(run: ReportedRun) -> pd.DataFrame:
    """The ensemble's answers: columns id, label, group, fold, answer, probability, right."""
    answer = [run.classes[k] for k in run.answers]
    table = run.samples.assign(answer=answer, probability=run.probabilities.max(axis=1))
    return table.assign(right=table["answer"] == table["label"])


def _choose(answers: pd.DataFrame, store: Store) -> pd.DataFrame:
    """The answers of highest probability, right and wrong, whose images the store has.

    Adds the column row.
    """
    readable = store.samples[store.samples["status"] == "ok"]
    table = answers.merge(readable[["id", "row"]], on="id")
    table = table.sort_values(["probability", "id"], ascending=[False, True])
    return table[table.groupby(["label", "right"]).cumcount() < _EACH]


def _gather_class(
    name: str, answers: pd.DataFrame, shown: dict[bool, list[Example]]
) -> ClassExamples:
    own = answers[answers["label"] == name]
    return ClassExamples(name, len(own), int(own["right"].sum()), shown[True], shown[False])


def _make_examples(
    chosen: pd.DataFrame, store: Store, maps: dict[str, Maps], name: str
) -> dict[bool, list[Example]]:
    """The chosen answers of a class, by whether they are right."""
    found: dict[bool, list[Example]] = {True: [], False: []}
    for line in chosen[chosen["label"] == name].to_dict("records"):
        image = store.read_images(line["row"], line["row"] + 1)[0]
        gates = maps.get(line["id"], {})
        picture = _draw_panel(image, gates) if gates else _encode_png(image)
        ranges = [f"; gates of {level} {describe_range(values)}" for level, values in gates.items()]
        words = line["id"], line["answer"], float(line["probability"])
        found[line["right"]].append(Example(*words, picture, "".join(ranges)))
    return found


def _compute_gates(
    run: ReportedRun, store: Store, chosen: pd.DataFrame
) -> tuple[dict[str, Maps], str]:
    """Each sample's gates by level, mean over the seeds, by id; and why there are none."""
    if run.config["attention"] == "none":
        return {}, ""
    try:
        trained, found = run.run, {}
        check_predictor(trained)
        for fold, samples in chosen.groupby("fold"):
            place = None if fold == "" else int(str(fold))
            names = [name_member(seed, place, 1) for seed in run.seeds]
            members = [load_ensemble(trained, member=name) for name in names]
            for sample, row in zip(samples["id"], samples["row"], strict=True):
                found[str(sample)] = _average_gates(trained, members, store, int(row))
    except SamcacheError as error:
        return {}, " ".join(str(error).split())
    return found, ""


def _average_gates(trained: Run, members: list[Ensemble], store: Store, row: int) -> Maps:
    shard = row // store.rows_per_shard
    _, pooled = read_inputs(store, shard, np.array([row]), trained.inputs, trained.image_size)
    each = [member.average_attention(pooled) for member in members]
    return {level: np.mean([maps[level][0].numpy() for maps in each], axis=0) for level in each[0]}


def _draw_panel(image: RGB, gates: Maps) -> str:
    out = io.BytesIO()
    draw_panel(image, gates, inches=_INCHES).savefig(out, format="png")
    return _make_data_uri(out)


def _encode_png(image: RGB) -> str:
    out = io.BytesIO()
    Image.fromarray(image).save(out, format="PNG")
    return _make_data_uri(out)


def _make_data_uri(png: io.BytesIO) -> str:
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
