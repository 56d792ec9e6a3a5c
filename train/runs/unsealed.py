"""The results of older runs, which have no checksum, held against what can be known of them."""

from pathlib import Path
from typing import Any

from samcache.train.runs.folder import RESULTS, list_member_files
from samcache.train.tasks.splits import name_member

_LOWEST = {"kappa": -1.0}  # of a metric; all others are shares


def check_unsealed(folder: Path, results: dict[str, Any]) -> None:
    """Raise ValueError where results cannot be what train wrote; KeyError, TypeError as they come.

    Every file of weights has a member, every member a fraction, every number a possible value.
    """
    members = results["members"]
    names = {name_member(m["seed"], m.get("fold"), m["fraction"]) for m in members}
    if len(names) < len(members) or list_member_files(folder) - {f"{n}.safetensors" for n in names}:
        raise ValueError(f"{RESULTS} names other members than the folder has weights of")
    fractions = [entry["fraction"] for entry in results["fractions"]]
    if set(fractions) != {member["fraction"] for member in members}:
        raise ValueError(f"{RESULTS} has no scores for a fraction of its members")
    for entry in results["fractions"]:
        for kind in ("metrics", "ensemble"):
            for name, summary in (entry.get(kind) or {}).items():
                _check_summary(name, summary)


def _check_summary(name: str, summary: dict[str, Any]) -> None:
    low, interval = _LOWEST.get(name, 0.0), summary["interval"]
    bounds = (interval["low"], interval["high"]) if interval else ()
    if not all(low <= value <= 1 for value in (summary["mean"], *bounds)):
        raise ValueError(f"{RESULTS} has an impossible {name}")
