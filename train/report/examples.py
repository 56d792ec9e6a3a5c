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
from samcache.train.report.kinds.base import Caption, ReportKind
from samcache.train.report.kinds.choose import choose_report_kind
from samcache.train.runs.ensemble import Ensemble, check_predictor, load_ensemble
from samcache.train.runs.run import Run
from samcache.train.tasks.splits import name_member

_EACH = 2  # images right, and as many wrong, of a group
_INCHES = 1.2  # a picture's side, so that its text can be read on a phone

RGB = npt.NDArray[np.uint8]
Maps = dict[str, Map]


@dataclass(frozen=True)
class Example:
    """One test image and its answer.

    picture: a PNG as data URI. gates: the range of each level's gates in words, or "".
    """

    id: str
    caption: Caption
    picture: str
    gates: str


@dataclass(frozen=True)
class ExampleGroup:
    """The first right and wrong answers of a group of test images, such as those of a class."""

    heading: str
    right: list[Example]
    wrong: list[Example]


@dataclass(frozen=True)
class Examples:
    """Examples by group; overlays: whether the gates are drawn over them.

    missing: why there are no examples or no overlays, empty where there are both.
    """

    groups: list[ExampleGroup]
    overlays: bool
    missing: str

    def lack(self) -> str:
        """A sentence on what is not shown, and why; "" where nothing is missing."""
        if not self.missing:
            return ""
        what = "Gates cannot be shown" if self.groups else "There are no examples"
        return f"{what}: {self.missing}."


def choose_examples(facts: Facts) -> Examples:
    """Examples of each group that the kind of answer has."""
    run, store = facts.run, facts.store
    if store is None:
        return Examples([], False, facts.no_store)
    if not store.identity.frame_size:
        return Examples([], False, "the store holds no images")
    kind = choose_report_kind(run)
    listed = kind.list_example_groups(run)
    chosen = _choose(run, kind, store)
    chosen = chosen[chosen["group"].isin([number for number, _ in listed])]
    maps, missing = _compute_gates(run, store, chosen)
    groups = [
        ExampleGroup(heading, *_make_examples(run, chosen[chosen["group"] == number], store, maps))
        for number, heading in listed
    ]
    return Examples(groups, bool(maps), missing)


def _choose(run: ReportedRun, kind: ReportKind, store: Store) -> pd.DataFrame:
    """The first examples, right and wrong, of each group, whose images the store has.

    Columns: sample, group, right, id, fold, row in the store.
    """
    ranked = kind.rank_examples(run)[["sample", "group", "right"]]
    readable = store.samples[store.samples["status"] == "ok"]
    table = ranked.join(run.samples[["id", "fold"]], on="sample")
    table = table.merge(readable[["id", "row"]], on="id")
    return table[table.groupby(["group", "right"]).cumcount() < _EACH]


def _make_examples(
    run: ReportedRun, chosen: pd.DataFrame, store: Store, maps: dict[str, Maps]
) -> tuple[list[Example], list[Example]]:
    """A group's chosen answers: the right ones, the wrong ones."""
    kind = choose_report_kind(run)
    found: dict[bool, list[Example]] = {True: [], False: []}
    for line in chosen.to_dict("records"):
        image = store.read_images(line["row"], line["row"] + 1)[0]
        gates = maps.get(line["id"], {})
        picture = _draw_panel(image, gates) if gates else _encode_png(image)
        ranges = [f"; gates of {level} {describe_range(values)}" for level, values in gates.items()]
        caption = kind.write_caption(run, line["sample"], line["group"])
        found[line["right"]].append(Example(line["id"], caption, picture, "".join(ranges)))
    return found[True], found[False]


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
