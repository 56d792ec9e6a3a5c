"""The sentences of a report: the result in plain words, and what each metric means."""

from samcache.cache.format.samples import SPLITS
from samcache.cache.text import count_nouns
from samcache.train.data.spreads import find_level
from samcache.train.report.checks.data import check_patients
from samcache.train.report.checks.finding import format_percent
from samcache.train.report.design import describe
from samcache.train.report.facts import Facts, ReportedRun
from samcache.train.scores.bootstrap import RESAMPLES, Summary
from samcache.train.scores.format import MOST_CLASSES, format_interval

_MOST_CLASSES = 5  # named in one sentence

DEFINITIONS = {
    "accuracy": "Share of the test images that get their right class.",
    "balanced_accuracy": "Share of a class that is recognised, mean over the classes: a rare class "
    "counts as much as a common class.",
    "auc": "How often an image of a class gets a higher score for that class than an image of "
    "another class; mean over the classes. 0.5 is guessing, 1 is perfect.",
    "f1": "Mean over the classes of F1, the balance between the share of a class that is found and "
    "the share of the images named as the class that is right.",
    "kappa": "Agreement on the grade beyond chance; an error of several grades weighs more. 1 is "
    "perfect, 0 is chance.",
    "ece": "Calibration: how far the stated probabilities are from the share that is right. 0 is "
    "perfect; lower is better.",
    "auc:": "AUC of this class against all other classes.",
    "ap:": "Average precision over all thresholds: the share of the images named as this class "
    "that is right. Guessing reaches the class's share of the test images.",
}


def define_metric(metric: str) -> str:
    """What a metric says, in a sentence or two."""
    kind, colon, _ = metric.partition(":")
    return DEFINITIONS[kind + colon]


def name_seeds(run: ReportedRun, before: str = "", after: str = "") -> str:
    """Names a number's view where it is not the ensemble's; "" for one seed."""
    count = len(run.seeds)
    return f"{before}mean over {count} seeds{after}" if count > 1 else ""


def describe_view(run: ReportedRun) -> str:
    """What the page's numbers are of: the one classifier that the run makes."""
    seeds, folds = len(run.seeds), run.results["folds"]
    if folds and seeds > 1:
        text = (
            f"{len(run.members)} trainings: {seeds} seeds in each of {folds} folds. Each image was "
            f"tested once, by an ensemble: the mean of the probabilities of the {seeds} trainings "
            "that held out its fold."
        )
    elif folds:
        text = (
            f"{folds} trainings, one for each fold. Each image was tested once, by the training "
            "that held out its fold."
        )
    elif seeds > 1:
        text = (
            "The numbers are those of one classifier, the ensemble: the mean of the probabilities "
            f"of {seeds} trainings that differ in their seed."
        )
    else:
        return "One training."
    return text + (" A mean over seeds is named as such." if seeds > 1 else "")


def describe_resampled(run: ReportedRun) -> str:
    """What the ensemble's intervals are over."""
    known = (run.samples["group"] != "").any()
    return "test images, patients whole" if known else "test images"


def write_verdict(facts: Facts) -> list[str]:
    """What the test says, in two or three sentences; class names are written as they are."""
    run = facts.run
    return [
        _describe_ranking(run),
        f"{_describe_answers(run)} {_describe_recognised(run)}",
        *_describe_difference(facts),
    ]


def _describe_ranking(run: ReportedRun) -> str:
    auc, classes = run.metrics["auc"], run.classes
    tested = f"On {count_nouns(run.scores.test_samples, 'test image')}"
    if run.results["folds"]:
        tested = f"On {count_nouns(run.scores.test_samples, 'image')}, each tested once,"
    value = f"{auc.mean:.3f}{_write_interval(auc)}"
    if len(classes) != 2:
        return f"{tested} the mean AUC over {len(classes)} classes is {value}."
    return (
        f"{tested} the AUC is {value}: of an image of “{classes[1]}” and an image of “{classes[0]}”"
        f", the classifier tells which is which in {100 * auc.mean:.0f} of 100 pairs."
    )


def _describe_answers(run: ReportedRun) -> str:
    accuracy = run.metrics["accuracy"]
    name, share = run.commonest
    return (
        f"The classifier gives the right class to {format_percent(accuracy.mean, 1)}"
        f"{_write_interval(accuracy, 100)}; always answering “{name}” is right for "
        f"{format_percent(share, 1)}."
    )


def _describe_recognised(run: ReportedRun) -> str:
    """The share of each class that is recognised, of many the worst."""
    right = run.answers == run.labels
    shares = [(float(right[run.labels == k].mean()), name) for k, name in enumerate(run.classes)]
    if len(shares) > _MOST_CLASSES:
        share, name = min(shares)
        return f"The least recognised class is “{name}”, {format_percent(share)}."
    recalls = (f"{format_percent(share)} of “{name}”" for share, name in shares)
    return f"Recognised: {', '.join(recalls)}."


def _write_interval(summary: Summary, scale: int = 1) -> str:
    if summary.interval is None:
        return ""
    low, high = scale * summary.interval.low, scale * summary.interval.high
    digits = 3 if scale == 1 else 1
    return f" (95 % interval {low:.{digits}f} to {high:.{digits}f})"


def _describe_difference(facts: Facts) -> list[str]:
    """The paired difference to the baseline, which is over seeds as ``samcache compare`` has it."""
    if facts.baseline is None:
        return []
    row, base = facts.row(facts.run, "auc"), facts.baseline
    if row.difference is None or row.difference.interval is None:
        return []
    mean, interval = row.difference.mean, row.difference.interval
    chance = "chance alone may give such a difference"
    if interval.low > 0 or interval.high < 0:
        chance = "chance alone would rarely give such a difference"
    several = len(facts.run.seeds) > 1
    start = f"The {name_seeds(facts.run)} of the AUC is" if several else "The AUC is"
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
            "Research: to compare ways of classifying images like those of the data set named "
            "above, and to decide what to study further.",
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
    if run.metrics["accuracy"].interval is None:
        return "All test images are of one patient, so the numbers have no intervals."
    return (
        f"Intervals are percentile bootstraps of {RESAMPLES} draws of {describe_resampled(run)}. "
        "They show how much another test set of this size and kind may change a number, not how "
        "another hospital may."
    )


def _describe_model(run: ReportedRun) -> str:
    config, identity = run.config, run.config["identity"]
    start = "random weights" if config.get("pretrained") is None else config["pretrained"]
    if weights := config.get("pretrained_sha256"):
        start += f" (SHA-256 {weights[:16]})"
    design = describe(config)
    text = f"{design[0].upper()}{design[1:]}. The backbone started from {start}."
    if not config["inputs"]:
        return text
    levels = ", ".join(dict.fromkeys(map(find_level, config["inputs"])))
    return (
        f"{text} The encoder is {identity['encoder']} at {identity['image_size']} px, and training "
        f"does not change it. Levels used: {levels}."
    )


def _describe_data(facts: Facts) -> str:
    run = facts.run
    parts = [f"{run.results['dataset']}, classes {list_classes(run.classes, ', ', '“', '”')}."]
    if folds := run.results["folds"]:
        parts.append(f"Cross-validation in {folds} folds.")
    elif facts.store is not None:
        origin = facts.store.dataset.split_origin
        parts.append("Splits are the source's own." if origin == "source" else f"Splits: {origin}.")
    return " ".join([*parts, f"{check_patients(facts).title}."])


def list_classes(
    classes: tuple[str, ...], between: str = " / ", before: str = "", after: str = ""
) -> str:
    """The names of the classes; of many the first, and how many more there are."""
    text = between.join(f"{before}{name}{after}" for name in classes[:MOST_CLASSES])
    more = len(classes) - MOST_CLASSES
    return f"{text} and {more} more" if more > 0 else text


def _describe_training(run: ReportedRun) -> str:
    config, members = run.config, run.members
    sizes = [[member["samples"][split] for member in members] for split in SPLITS]
    images = ", ".join(
        f"{_write_span(counts)} {name}"
        for counts, name in zip(sizes, ("training", "validation", "test"), strict=True)
    )
    augmented = "with" if config["augment"] else "without"
    kept = {"last": "last epoch", "best": "epoch with the best validation AUC"}[config["keep"]]
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
