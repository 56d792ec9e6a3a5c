"""Describe a run by its options: a backbone, its gates, a second head."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from samcache.train.config import GATES_ALONE, TrainConfig, name_option

Config = Mapping[str, Any]

CONTROLS = ("shuffled", "random", "global", "per-location")

_GATES = {
    "slca": "gated by SLCA with the frozen encoder's features of the same image",
    "shuffled": "gated with the features of another image",
    "random": "gated with noise in place of features",
    "global": "gated with the mean of each feature map, equal at every place",
    "per-location": "gated with every cell of the feature maps, without pooling",
}
_READ = {"shuffled": "the features of that other image", "random": "the noise"}
_OWN = "the frozen encoder's features"

# what may differ between a run and one that shows the part of its design
_DESIGN = ("attention", "join", *GATES_ALONE)
_PLACE = ("store", "out", "overwrite", "tensorboard", "residency", "compile", "device", "precision")


def describe(config: Config) -> str:
    """Such as "resnet18 gated by SLCA with …, and a second head that classifies …".

    config: config.json, of which attention, backbone and join are used.
    """
    attention, backbone = config["attention"], config["backbone"]
    verb = "classifies" if config.get("target", {}).get("kind", "class") == "class" else "reads"
    head = f"a second head that {verb} {_READ.get(attention, _OWN)} directly"
    if attention == "none":
        if config["join"]:
            return f"{backbone} without gates, and {head}"
        return f"{backbone} alone, without the encoder's features"
    text = f"{backbone} {_GATES[attention]}" + (f", and {head}" if config["join"] else "")
    return f"control: {text}" if attention in CONTROLS else text


@dataclass(frozen=True)
class Comparison:
    """A run that would show the part that something has in another run's result."""

    shows: str
    attention: tuple[str, ...]  # any of these
    join: bool

    @property
    def options(self) -> str:
        """The options of ``samcache train`` that make such a run."""
        join = f" {name_option('join')}" if self.join else ""
        return f"{name_option('attention')} {' or '.join(self.attention)}{join}"

    def is_met_by(self, run: Config, of: Config) -> bool:
        """Whether a run is such a run, and differs from the other in its design alone."""
        designed = run["attention"] in self.attention and run["join"] == self.join
        kept = [f.name for f in fields(TrainConfig) if f.name not in (*_DESIGN, *_PLACE)]
        return designed and all(run.get(name) == of.get(name) for name in kept)


def list_needed_comparisons(config: Config) -> list[Comparison]:
    """The runs that would show where a run's result comes from; none for a backbone alone."""
    gated, joined = config["attention"] != "none", bool(config["join"])
    needed = []
    if gated or joined:
        needed.append(Comparison("what the encoder's features add at all", ("none",), False))
    if gated and joined:
        needed.append(Comparison("what the gates add to the second head", ("none",), True))
    if gated:
        shows = "whether the gain needs the image's own features, and not only more layers"
        needed.append(Comparison(shows, ("shuffled", "random"), joined))
    return needed
