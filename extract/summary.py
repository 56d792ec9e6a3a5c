"""What an extraction did."""

from dataclasses import dataclass, replace

from samcache.cache.format.precision import Precision
from samcache.cache.labels.duplicates import Duplicates, find_duplicates
from samcache.cache.progress import Remark
from samcache.cache.store import Store
from samcache.extract.changes import Changes
from samcache.extract.images.oddities import NO_ODDITIES, Oddities
from samcache.extract.options import ExtractOptions
from samcache.extract.pipeline.open_shard import Filled
from samcache.extract.pipeline.ranks import Division
from samcache.extract.sources.base import Source
from samcache.extract.sources.training_remarks import describe_training


@dataclass(frozen=True)
class ExtractSummary:
    """What a run did, and what the store holds after it."""

    samples: int  # in the store
    missing: int  # not committed, because they are other workers'
    encoded: int  # by this process
    copied: int  # by this process, from rows that were encoded before
    unreadable: dict[str, str]  # sample id -> reason, in the whole store
    seconds: float  # spent in encoding and writing
    fingerprint: str
    duplicates: list[Duplicates]
    classes: tuple[str, ...]
    changes: Changes  # of the source since it was stored
    worker: str = ""  # which of several processes this is
    precision: Precision | None = None
    passed_over: tuple[str, ...] = ()  # files of the source that are not taken for images
    oddities: Oddities = NO_ODDITIES  # of the images that were encoded by this process
    remarks: tuple[Remark, ...] = ()  # why training would be refused, and odd classes
    created: bool = True  # whether there was no store when this run began
    accepted: tuple[str, ...] = ()  # ids of unreadable images that were recorded before the run
    pruned: bool = False  # whether the store follows what left the source or changed
    relabels: bool = False  # whether the store's own labels follow the source
    limited: bool = False  # whether the run saw only some of the source's images

    @property
    def new_unreadable(self) -> dict[str, str]:
        """Unreadable images with their reasons, but for the accepted ones."""
        known = set(self.accepted)
        return {name: reason for name, reason in self.unreadable.items() if name not in known}


def summarise(
    store: Store,
    filled: Filled,
    seconds: float,
    changes: Changes,
    share: Division,
    source: Source,
    options: ExtractOptions,
) -> ExtractSummary:
    """The summary of a run, from the store after the run.

    Of a launcher's ranks the first alone reports what the store holds: it stays to the end, and
    launchers take a status like that of unreadable images for a failure that ends all other ranks.
    """
    limited = options.limit is not None
    own = ExtractSummary(
        samples=len(store.table),
        missing=0,
        encoded=filled.encoded,
        copied=filled.copied,
        unreadable={},
        seconds=seconds,
        fingerprint=store.fingerprint,
        duplicates=[],
        classes=store.dataset.classes,
        changes=Changes(),
        worker=f"by rank {share.rank} of {share.size}" if share.size > 1 else "",
        oddities=filled.oddities.with_ids(store.table.set_index("row")["id"]),
        pruned=options.prune,
        relabels=options.relabel,
        limited=limited,
    )
    if not share.speaks:
        return own
    return replace(
        own,
        missing=int((store.samples["status"] == "missing").sum()),
        unreadable=list_unreadable(store),
        duplicates=find_duplicates(store.samples),
        changes=changes,
        precision=Precision.from_provenance(store.provenance),
        passed_over=source.passed_over,
        remarks=tuple(describe_training(source.name, store.samples, store.dataset, limited)),
    )


def list_unreadable(store: Store) -> dict[str, str]:
    """Id -> reason of every image that the store records as unreadable."""
    failed = store.samples[store.samples["status"] == "unreadable"]
    return dict(zip(failed["id"], failed["reason"], strict=True))
