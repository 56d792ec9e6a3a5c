"""Do 95 % intervals of a difference keep their promise? Two runs that are equally good, simulated.

    python benchmarks/null_intervals.py --trials 400

Test samples have a difficulty that both runs share, each run adds noise of its own to an image,
each seed noise of its own to an image and a strength of its own to all. The seeds' standard
deviation of the AUC is set; the expected difference is zero. Prints how often the interval leaves
zero out (5 % is the promise) and its half width over that of an interval from the true standard
deviation of the difference (1.96 of them), as medians, for AUC and accuracy.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import click
import numpy as np

from samcache.train.compare import Scored, describe_difference
from samcache.train.scores import bootstrap
from samcache.train.scores.bootstrap import LabelledPredictions
from samcache.train.scores.metrics import Floats, Ints
from samcache.train.tasks.targets.classes import Classes

METRICS = ("auc", "accuracy")
_NONE = 1  # the AUC's variance needs no bootstrap
_FEW = 156  # images up to which the bootstrap of an accuracy is affordable here
_STRENGTH = 1.2  # of an equally good run, in standard deviations of a score
_SLOPE = 0.22  # by which the AUC grows with the strength, there
_SHARED, _OWN, _NOISE = 0.8, 0.4, 0.42  # standard deviations of what adds up to a score


@dataclass(frozen=True)
class Setting:
    """One row of the table: images, images of a patient, seeds, the seeds' deviation of the AUC."""

    images: int
    per_patient: int
    seeds: int
    deviation: float


@click.command()
@click.option("--trials", type=int, default=400, show_default=True)
@click.option("--resamples", type=int, default=200, show_default=True, help="of the bootstrap")
def main(trials: int, resamples: int) -> None:
    """Simulate and print."""
    print(f"{trials} trials, {resamples} resamples\n")
    heads = ["images", "a patient", "seeds", "sd of seeds"]
    heads += [f"{metric}: {what}" for metric in METRICS for what in ("zero left out", "width")]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for setting in list_settings():
        cells = [setting.images, setting.per_patient, setting.seeds, setting.deviation]
        for metric in METRICS:
            bootstrap.RESAMPLES = _NONE if metric == "auc" else resamples
            if metric == "auc" or setting.images <= _FEW:
                share, width = measure(setting, trials, metric)
                cells += [f"{share:.1%}", f"{width:.2f}"]
            else:
                cells += ["", ""]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


def list_settings() -> Iterator[Setting]:
    """Every row of the table."""
    for images, patient, seeds, deviation in product(
        (156, 600), (1, 3), (2, 3, 5, 10), (0.0, 0.02, 0.05)
    ):
        yield Setting(images, patient, seeds, deviation)


def measure(setting: Setting, trials: int, metric: str) -> tuple[float, float]:
    """How often the interval leaves zero out, and its half width by that of the true deviation."""
    rng = np.random.default_rng(0)
    missed, widths, differences = 0, [], []
    for _ in range(trials):
        first, second = (score(run, metric) for run in draw_runs(setting, rng))
        found = describe_difference(first, second)
        assert found.interval is not None
        missed += not found.interval.low <= 0 <= found.interval.high
        widths.append((found.interval.high - found.interval.low) / 2)
        differences.append(found.mean)
    return missed / trials, float(np.median(widths) / (1.96 * np.std(differences)))


def score(run: LabelledPredictions, metric: str) -> Scored:
    """A run's metric of each seed, and how test samples move it."""
    return run.score_trainings()[metric], run.draw_scores()[metric]


def draw_runs(setting: Setting, rng: np.random.Generator) -> list[LabelledPredictions]:
    """Two equally good runs on the same test images."""
    patients = setting.images // setting.per_patient
    groups = np.arange(patients).repeat(setting.per_patient)
    labels = (rng.random(patients) < 0.4).astype(int)[groups]
    shared = _SHARED * _draw_by_patient(groups, rng)
    return [
        LabelledPredictions(
            labels, groups, _draw_seeds(setting, labels, shared, rng), Classes(("no", "yes"))
        )
        for _ in range(2)
    ]


def _draw_by_patient(groups: Ints, rng: np.random.Generator) -> Floats:
    """Unit noise (n,), half of whose variance the images of a patient share."""
    together = rng.normal(size=groups.max() + 1)[groups]
    return (together + rng.normal(size=len(groups))) / np.sqrt(2)


def _draw_seeds(setting: Setting, labels: Ints, shared: Floats, rng: np.random.Generator) -> Floats:
    """Probabilities (S, n, 2) of one run's seeds."""
    count = len(labels)
    own = shared + _OWN * rng.normal(size=count)
    strength = _STRENGTH + rng.normal(size=(setting.seeds, 1)) * setting.deviation / _SLOPE
    scores = strength * (labels - 0.5) + own + _NOISE * rng.normal(size=(setting.seeds, count))
    chance = 1 / (1 + np.exp(-scores))
    return np.stack([1 - chance, chance], axis=2)


if __name__ == "__main__":
    main()
