"""What an extraction did, in the words of the terminal."""

from dataclasses import asdict, dataclass
from typing import Any

from samcache.cache.format.precision import Precision
from samcache.cache.labels.duplicates import Duplicates, find_duplicates
from samcache.cache.store import Store
from samcache.cache.text import count_nouns
from samcache.extract.check import listed
from samcache.extract.images.remarks import NOTHING, Noted
from samcache.extract.pipeline.open_shard import Filled
from samcache.extract.pipeline.ranks import Division
from samcache.extract.sources.base import told_passed_over


@dataclass(frozen=True)
class ExtractSummary:
    """What a run did, and what the store holds after it."""

    samples: int  # in the store
    missing: int  # of them not committed, since they are other workers'
    encoded: int  # by this process
    copied: int  # by this process, from where they had been encoded before
    unreadable: dict[str, str]  # sample id -> reason, in the whole store
    seconds: float  # spent in encoding and writing
    fingerprint: str
    duplicates: list[Duplicates]
    classes: tuple[str, ...]
    changes: list[str]  # of the source since it was stored, a line each
    worker: str = ""  # which of several this is
    precision: Precision | None = None
    passed_over: tuple[str, ...] = ()  # files of the source that are not taken for images
    noted: Noted = NOTHING  # of the images that were encoded by this process
    remarks: tuple[str, ...] = ()  # why training would be refused, and odd classes
    created: bool = True  # there was no store when this run began
    accepted: tuple[str, ...] = ()  # ids of unreadable images that are no news

    def to_json(self) -> dict[str, Any]:
        """The summary as plain data."""
        precision = self.precision.to_json() if self.precision else None
        return {**asdict(self), "precision": precision}

    @property
    def new_unreadable(self) -> dict[str, str]:
        """Unreadable images with their reasons, but for the accepted ones."""
        known = set(self.accepted)
        return {name: reason for name, reason in self.unreadable.items() if name not in known}

    def text(self, quiet: bool = False) -> str:
        """A few lines for the terminal; quiet: what was done and what failed, without remarks."""
        lines = [self._done()] if quiet else [self._done(), *self._before_failures()]
        if self.missing:
            verb = "is" if self.missing == 1 else "are"
            lines.append(f"{count_nouns(self.missing, 'image')} {verb} not committed yet")
        bad = [f"{name}: {reason}" for name, reason in self.new_unreadable.items()]
        lines += listed("unreadable image", "recorded in the store", bad)
        return "\n".join(lines if quiet else [*lines, *self._after_failures()])

    def _done(self) -> str:
        timed = self.encoded and not self.copied  # else the time is not the encoder's
        rate = f", {self.encoded / self.seconds:.1f} images/s" if timed else ""
        copied = f", {self.copied} copied" if self.copied else ""
        return (
            f"{count_nouns(self.samples, 'image')} in the store, {self.encoded} encoded{copied} "
            f"{self.worker or 'in this run'} ({self.seconds:.1f} s{rate}), "
            f"fingerprint {self.fingerprint[:12]}"
        )

    def _before_failures(self) -> list[str]:
        return [
            *told_passed_over(self.passed_over),
            *self.noted.lines(),
            *self.changes,
            *self.remarks,
            *self._precision_lines(),
        ]

    def _after_failures(self) -> list[str]:
        lines = []
        if self.accepted:
            images = count_nouns(len(self.accepted), "unreadable image")
            lines.append(f"{images} accepted as recorded before")
        leaks = [same for same in self.duplicates if same.leaks]
        across = [same.text(self.classes) for same in leaks]
        lines += listed("image", "in more than one split", across)
        if len(self.duplicates) > len(leaks):
            within = count_nouns(len(self.duplicates) - len(leaks), "image")
            lines.append(f"{within} repeated within a split")
        return lines

    def _precision_lines(self) -> list[str]:
        """What was measured when the store was made: no news to a run that goes on with it."""
        if self.precision is None or not self.created:
            return []
        images = count_nouns(self.precision.images, "image")
        head = f"against float32 ({images}, {self.precision.device}):"
        return [head] + [
            f"  {level}: cosine {mean}, least {least}; error {error} of the greatest value"
            for level, mean, least, error in self.precision.rows()
        ]


def summarise(
    store: Store,
    filled: Filled,
    seconds: float,
    changes: list[str],
    share: Division,
    passed_over: tuple[str, ...] = (),
    remarks: tuple[str, ...] = (),
) -> ExtractSummary:
    """The summary of a run, from the store as it now stands.

    Of a launcher's ranks the first alone tells what the store holds: it stays to the end, and
    launchers take a status like that of unreadable images for a failure that ends all other ranks.
    """
    noted = filled.noted.named(store.table.set_index("row")["id"])
    worker = f"by rank {share.rank} of {share.size}" if share.size > 1 else ""
    if not share.speaks:
        return ExtractSummary(
            samples=len(store.table),
            missing=0,
            encoded=filled.encoded,
            copied=filled.copied,
            unreadable={},
            seconds=seconds,
            fingerprint=store.fingerprint,
            duplicates=[],
            classes=store.dataset.classes,
            changes=[],
            worker=worker,
            noted=noted,
        )
    return ExtractSummary(
        len(store.samples),
        int((store.samples["status"] == "missing").sum()),
        filled.encoded,
        filled.copied,
        unreadable_images(store),
        seconds,
        store.fingerprint,
        find_duplicates(store.samples),
        store.dataset.classes,
        changes,
        worker,
        Precision.from_provenance(store.provenance),
        passed_over,
        noted,
        remarks,
    )


def unreadable_images(store: Store) -> dict[str, str]:
    """Id -> reason of every image that the store records as unreadable."""
    failed = store.samples[store.samples["status"] == "unreadable"]
    return dict(zip(failed["id"], failed["reason"], strict=True))
