"""The sentences of a report that every kind of answer has, around those of the kind."""

from typing import Any

from samcache.cache.format.samples import SPLITS
from samcache.cache.text import count_nouns
from samcache.train.data.spreads import find_level
from samcache.train.report.checks.data import check_patients
from samcache.train.report.design import describe
from samcache.train.report.facts import Facts, ReportedRun
from samcache.train.report.kinds.choose import choose_report_kind
from samcache.train.report.phrases import name_seeds
from samcache.train.scores.bootstrap import RESAMPLES
from samcache.train.scores.format import format_interval, name_selection


def describe_view(run: ReportedRun) -> str:
    """What the page's numbers are of: the one classifier that the run makes."""
    seeds, folds = len(run.seeds), run.results["folds"]
    kind = choose_report_kind(run)
    if folds and seeds > 1:
        text = (
            f"{len(run.members)} trainings: {seeds} seeds in each of {folds} folds. Each image was "
            f"tested once, by an ensemble: the mean of the {kind.outputs} of the {seeds} trainings "
            "that held out its fold."
        )
    elif folds:
        text = (
            f"{folds} trainings, one for each fold. Each image was tested once, by the training "
            "that held out its fold."
        )
    elif seeds > 1:
        text = (
            f"The numbers are those of one {kind.predictor}, the ensemble: the mean of the "
            f"{kind.outputs} of {seeds} trainings that differ in their seed."
        )
    else:
        return "One training."
    return text + (" A mean over seeds is named as such." if seeds > 1 else "")


def describe_resampled(run: ReportedRun) -> str:
    """What the ensemble's intervals are over."""
    known = (run.samples["group"] != "").any()
    return "test images, patients whole" if known else "test images"


def write_verdict(facts: Facts) -> list[str]:
    """What the test says, a paragraph each; class names are written as they are."""
    result = choose_report_kind(facts.run).write_result(facts.run)
    return [*result, *_describe_difference(facts)]


def _describe_difference(facts: Facts) -> list[str]:
    """The paired difference to the baseline, which is over seeds as ``samcache compare`` has it."""
    if facts.baseline is None:
        return []
    kind = choose_report_kind(facts.run)
    row, base, name = facts.row(facts.run, kind.headline), facts.baseline, kind.headline_title
    if row.difference is None or row.difference.interval is None:
        return []
    mean, interval = row.difference.mean, row.difference.interval
    chance = "chance alone may give such a difference"
    if interval.low > 0 or interval.high < 0:
        chance = "chance alone would rarely give such a difference"
    several = len(facts.run.seeds) > 1
    start = f"The {name_seeds(facts.run)} of the {name} is" if several else f"The {name} is"
    than = "above" if mean > 0 else "below"
    return [
        f"{start} {row.summary.mean:.3f}, {abs(mean):.3f} {than} that of the baseline, run "
        f"{base.folder.name} ({describe(base.config)}). The 95 % interval of the difference is "
        f"{format_interval(interval, '+')}: {chance}."
    ]


def write_model_card(facts: Facts) -> list[tuple[str, str]]:
    """The parts of a model card that every run has: a heading and a paragraph each."""
    run = facts.run
    return [
        ("What it is", _describe_model(run)),
        (
            "Intended use",
            f"Research: to compare ways of {choose_report_kind(run).purpose} like those of the "
            "data set named above, and to decide what to study further.",
        ),
        (
            "Not for",
            "Not a medical device. It is not approved for diagnosis, triage or any decision about "
            "a patient. On images of another origin, scanner or population the numbers may differ.",
        ),
        ("Data", _describe_data(facts)),
        ("Training", _describe_training(run)),
        ("Evaluation", f"{_describe_test(run)} {describe_view(run)} {_describe_intervals(run)}"),
    ]


def _describe_intervals(run: ReportedRun) -> str:
    if run.metrics[choose_report_kind(run).headline].interval is None:
        return "All test images are of one patient, so the numbers have no intervals."
    drawn = f"from {RESAMPLES} bootstrap draws"
    how = f"DeLong's for AUC, else {drawn}" if "auc" in run.metrics else drawn
    return (
        f"Intervals are over {describe_resampled(run)}: {how}, with Student's t. Chance in "
        "training is not covered. They show how much "
        "another test set of this size and kind may change a number, not how another hospital may."
    )


def _describe_model(run: ReportedRun) -> str:
    config = run.config
    start = "random weights" if config.get("pretrained") is None else config["pretrained"]
    if weights := config.get("pretrained_sha256"):
        start += f" (SHA-256 {weights[:16]})"
    design = describe(config)
    text = f"{design[0].upper()}{design[1:]}. The backbone started from {start}."
    if not config["inputs"]:
        return text
    levels = ", ".join(dict.fromkeys(map(find_level, config["inputs"])))
    encoders = [
        f"{used.identity.encoder} at {used.identity.image_size} px"
        + (f" ({used.name})" if used.name else "")
        for used in run.run.used_stores
    ]
    if len(encoders) == 1:
        text += f" The encoder is {encoders[0]}, and training does not change it."
    else:
        text += f" The encoders are {', '.join(encoders)}, and training does not change them."
    return f"{text} Levels used: {levels}."


def _describe_data(facts: Facts) -> str:
    run = facts.run
    parts = [f"{run.results['dataset']}, {choose_report_kind(run).describe_data(run)}."]
    if run.task:
        parts.append(_describe_table(run.task))
    if folds := run.results["folds"]:
        parts.append(f"Cross-validation in {folds} folds.")
    elif run.task.keys() & {"split_column", "splits"}:
        parts.append(f"Splits are those of {run.task.get('splits', run.task['labels'])}.")
    elif facts.store is not None:
        origin = facts.store.dataset.split_origin
        parts.append("Splits are the source's own." if origin == "source" else f"Splits: {origin}.")
    return " ".join([*parts, f"{check_patients(facts).title}."])


def _describe_table(task: dict[str, Any]) -> str:
    """Where labels are from, if they are not the store's own."""
    columns = task.get("target", [])
    noun = "column" if len(columns) == 1 else "columns"
    return f"Labels are those of {task['labels']}, {noun} {', '.join(columns)}."


def _describe_training(run: ReportedRun) -> str:
    config, members = run.config, run.members
    sizes = [[member["samples"][split] for member in members] for split in SPLITS]
    images = ", ".join(
        f"{_write_span(counts)} {name}"
        for counts, name in zip(sizes, ("training", "validation", "test"), strict=True)
    )
    augmented = "with" if config["augment"] else "without"
    best = f"epoch with the best validation {name_selection(run.target.selection)}"
    kept = {"last": "last epoch", "best": best}[config["keep"]]
    whose = "of each training " if len(members) > 1 else ""
    return (
        f"{count_nouns(len(members), 'training')} ({images} images), up to "
        f"{count_nouns(config['epochs'], 'epoch')} in batches of {config['batch_size']} at "
        f"{config['image_size']} px, {augmented} augmentation. The {kept} {whose}was kept."
    )


def _write_span(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"


def _describe_test(run: ReportedRun) -> str:
    if folds := run.results["folds"]:
        return f"Each image was tested once, in one of {folds} folds."
    return f"{count_nouns(run.scores.test_samples, 'test image')}; the test split chose nothing."
