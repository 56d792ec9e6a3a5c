"""The sentences of a report: the result in plain words, and what each metric means."""

from samcache.cache.samples import SPLITS
from samcache.train.bootstrap import Summary
from samcache.train.report.facts import Facts, ReportedRun
from samcache.train.report.findings import commonest_class
from samcache.train.results_text import MOST_CLASSES, interval_text
from samcache.train.spreads import level_of

_MOST_CLASSES = 5  # named in one sentence

DEFINITIONS = {
    "accuracy": "Share of the test images that are given their right class.",
    "balanced_accuracy": "Mean over the classes of the share recognised: a rare class counts as "
    "much as a common one.",
    "auc": "How often an image of a class gets a higher score for it than an image of another "
    "class; mean over the classes. 0.5 is guessing, 1 is perfect.",
    "f1": "Mean over the classes of F1, the balance between how many of a class are found and how "
    "many of those named are right.",
    "kappa": "Agreement on the grade beyond chance; mistakes by several grades weigh more. 1 is "
    "perfect, 0 is chance.",
    "ece": "How far the stated probabilities lie from the share that is right. 0 is perfect; the "
    "lower the better.",
    "auc:": "The same for this class against all others.",
    "ap:": "Average precision: of the images named as this class, how many are, over all "
    "thresholds. Guessing reaches the class's share.",
}

ATTENTION = {
    "none": "the backbone, without attention",
    "slca": "gated place by place by what a frozen encoder saw in the same image (SLCA)",
    "shuffled": "a control: gated by another image's features",
    "random": "a control: gated by noise",
    "global": "a control: gated by the mean of the encoder's map, the same everywhere",
    "per-location": "a control: gated by every cell of the encoder's map",
}


def definition(metric: str) -> str:
    """What a metric says, in a sentence or two."""
    kind, colon, _ = metric.partition(":")
    return DEFINITIONS[kind + colon]


def verdict(facts: Facts) -> list[str]:
    """What the test says, in two or three sentences; class names stand in it as they are."""
    return [_ranking(facts.run), f"{_answers(facts)} {_found(facts.run)}", *_difference(facts)]


def _ranking(run: ReportedRun) -> str:
    auc, classes = run.scores.metrics["auc"], run.classes
    tested = f"On {run.scores.test_samples} test images"
    if run.results["folds"]:
        tested = f"On {run.scores.test_samples} images, each tested once,"
    value = f"the AUC is {auc.mean:.3f}{_interval(auc)}"
    if len(classes) != 2:
        return f"{tested} of {len(classes)} classes {value}."
    return (
        f"{tested} {value}: of an image of “{classes[1]}” and one of “{classes[0]}”, it tells "
        f"which is which in {100 * auc.mean:.0f} of 100 pairs."
    )


def _answers(facts: Facts) -> str:
    accuracy = facts.run.scores.metrics["accuracy"]
    name, share = commonest_class(facts)
    return (
        f"It gives the right class to {100 * accuracy.mean:.1f} %{_interval(accuracy, 100)}; "
        f"always answering “{name}” would be right in {100 * share:.1f} %."
    )


def _found(run: ReportedRun) -> str:
    """The share of each class that is recognised, of many the worst."""
    right = (run.probabilities.argmax(axis=2) == run.labels).mean(axis=0)
    shares = [(float(right[run.labels == k].mean()), name) for k, name in enumerate(run.classes)]
    if len(shares) > _MOST_CLASSES:
        share, name = min(shares)
        return f"Least recognised is “{name}”, {100 * share:.0f} %."
    return f"Recognised: {', '.join(f'{100 * share:.0f} % of “{name}”' for share, name in shares)}."


def _interval(summary: Summary, scale: int = 1) -> str:
    if summary.interval is None:
        return ""
    low, high = scale * summary.interval.low, scale * summary.interval.high
    digits = 3 if scale == 1 else 1
    return f" (95 % interval {low:.{digits}f} to {high:.{digits}f})"


def _difference(facts: Facts) -> list[str]:
    if facts.baseline is None:
        return []
    row, base = facts.row(facts.run, "auc"), facts.baseline
    if row.difference is None or row.difference.interval is None:
        return []
    low, high = row.difference.interval.low, row.difference.interval.high
    meaning = "a difference within chance"
    if low > 0 or high < 0:
        meaning = "more than chance would explain"
    mean = row.difference.mean
    return [
        f"That AUC is {abs(mean):.3f} {'higher' if mean > 0 else 'lower'} than the baseline's, run "
        f"{base.folder.name} ({ATTENTION[base.config['attention']]}), 95 % interval of the "
        f"difference {interval_text(row.difference.interval, '+')}: {meaning}."
    ]


def model_card(facts: Facts) -> list[tuple[str, str]]:
    """The parts of a model card that every run has: a heading and a paragraph each."""
    run = facts.run
    return [
        ("What it is", _model(run)),
        (
            "Intended use",
            "Research: to compare ways of classifying images like those of the data set named "
            "above, and to decide what is worth a study.",
        ),
        (
            "Not for",
            "Not a medical device. It is not approved for diagnosis, triage or any decision about "
            "a patient, and was not tested on images of another origin, scanner or population.",
        ),
        ("Data", _data(facts)),
        ("Training", _training(run)),
        (
            "Evaluation",
            f"{_tested(run)} Intervals are percentile bootstraps of 2000 draws of test images "
            "(patients whole where they are known) and seeds. They say what another test set of "
            "this size and other seeds would change, not what another hospital would.",
        ),
    ]


def _model(run: ReportedRun) -> str:
    config, identity = run.config, run.config["identity"]
    start = "random weights" if config.get("pretrained") is None else config["pretrained"]
    if weights := config.get("pretrained_sha256"):
        start += f" (SHA-256 {weights[:16]})"
    text = f"{config['backbone']}, started from {start}: {ATTENTION[config['attention']]}."
    if config["join"]:
        text += " A second head, which reads the features' spreads, joins the backbone's."
    if not config["inputs"]:
        return text
    return text + (
        f" The encoder is {identity['encoder']} at {identity['image_size']} px and stays as it is; "
        f"levels {', '.join(dict.fromkeys(map(level_of, config['inputs'])))}."
    )


def _data(facts: Facts) -> str:
    run = facts.run
    parts = [f"{run.results['dataset']}, classes {listed(run.classes, ', ', '“', '”')}."]
    if facts.store is not None:
        origin = facts.store.dataset.split_origin
        parts.append("Splits are the source's own." if origin == "source" else f"Splits: {origin}.")
    parts.append(_patients(run))
    return " ".join(parts)


def listed(
    classes: tuple[str, ...], between: str = " / ", before: str = "", after: str = ""
) -> str:
    """The names of the classes; of many the first, and how many more there are."""
    text = between.join(f"{before}{name}{after}" for name in classes[:MOST_CLASSES])
    more = len(classes) - MOST_CLASSES
    return f"{text} and {more} more" if more > 0 else text


def _patients(run: ReportedRun) -> str:
    known, count = int((run.test["group"] != "").sum()), len(run.test)
    if parted := run.results.get("parted_groups", 0):
        return f"Splits part {parted} patients."
    if 0 < known < count:
        return f"Patients are known of {known} of {count} test images."
    return "Patients are kept whole." if known else "Patients are not known."


def _training(run: ReportedRun) -> str:
    config, members = run.config, run.members
    samples = members[0]["samples"]
    sizes = ", ".join(f"{samples[split]} {split}" for split in SPLITS)
    augmented = "with" if config["augment"] else "without"
    chosen = {"last": "last epoch", "best": "epoch with the best validation AUC"}[config["keep"]]
    return (
        f"{len(members)} trainings ({sizes} images), up to {config['epochs']} epochs of batches of "
        f"{config['batch_size']} at {config['image_size']} px, {augmented} augmentation. The "
        f"{chosen} was kept."
    )


def _tested(run: ReportedRun) -> str:
    if run.results["folds"]:
        return f"Each image was tested once, in one of {run.results['folds']} folds."
    return f"{run.scores.test_samples} test images; training chose nothing by them."
