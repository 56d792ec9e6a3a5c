"""Phrases that several parts of a report share."""

from samcache.train.report.facts import ReportedRun
from samcache.train.scores.format import MOST_CLASSES
from samcache.train.scores.intervals import Summary


def name_seeds(run: ReportedRun, before: str = "", after: str = "") -> str:
    """Names a number's view where it is not the ensemble's; "" for one seed."""
    count = len(run.seeds)
    return f"{before}mean over {count} seeds{after}" if count > 1 else ""


def write_interval(summary: Summary, scale: int = 1) -> str:
    """Such as " (95 % interval 0.841 to 0.944)"; "" where there is none. scale: 100 for percent."""
    if summary.interval is None:
        return ""
    low, high = scale * summary.interval.low, scale * summary.interval.high
    digits = 3 if scale == 1 else 1
    return f" (95 % interval {low:.{digits}f} to {high:.{digits}f})"


def list_classes(
    classes: tuple[str, ...], between: str = " / ", before: str = "", after: str = ""
) -> str:
    """The names of the classes; of many the first, and how many more there are."""
    text = between.join(f"{before}{name}{after}" for name in classes[:MOST_CLASSES])
    more = len(classes) - MOST_CLASSES
    return f"{text} and {more} more" if more > 0 else text
