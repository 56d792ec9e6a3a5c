"""``samcache extract``: open the source and the encoder, open or create the store, fill it."""

import platform
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from samcache.cache.duplicates import Duplicates, find_duplicates, split_groups
from samcache.cache.errors import ConfigError, SourceError, StoreError
from samcache.cache.identity import Identity
from samcache.cache.layout import Layout
from samcache.cache.objects import exclusive_writer
from samcache.cache.samples import describe_difference
from samcache.cache.store import Dataset, Store, creation_was_interrupted
from samcache.extract.encoders import ARCHITECTURES, LEVELS, Encoder, load_encoder
from samcache.extract.file_sources import ManifestColumns
from samcache.extract.open_source import open_source
from samcache.extract.pipeline import encode_pending
from samcache.extract.pseudonyms import hashed_ids
from samcache.extract.shard_encoder import ShardEncoder
from samcache.extract.sources import Source
from samcache.extract.weights import official_checkpoint

_DEFAULT_FRAME = 256


@dataclass(frozen=True)
class ExtractOptions:
    """The options of ``samcache extract``; None means the default of the encoder or machine."""

    source: Path
    store: Path
    encoder: str
    checkpoint: Path | None = None
    image_size: int | None = None
    preprocessing: str | None = None
    levels: tuple[str, ...] = LEVELS
    pool: int = 4
    dtype: str = "float16"
    frame_size: int | None = None
    device: str = "cpu"
    batch_size: int = 8
    shard_rows: int = 64
    limit: int | None = None
    strict: bool = False
    allow_split_groups: bool = False
    hash_ids: bool = False
    columns: ManifestColumns = field(default_factory=ManifestColumns)


@dataclass(frozen=True)
class ExtractSummary:
    """What a run did, and what the store holds after it."""

    rows: int
    encoded: int  # in this run
    unreadable: dict[str, str]  # sample id -> reason, in the whole store
    seconds: float  # spent in encoding and writing
    fingerprint: str
    duplicates: list[Duplicates]
    classes: tuple[str, ...]

    def text(self) -> str:
        """A few lines for the terminal: what was done, and which images could not be read."""
        rate = f", {self.encoded / self.seconds:.1f} images/s" if self.encoded else ""
        lines = [
            f"{self.rows} images in the store, {self.encoded} encoded in this run "
            f"({self.seconds:.1f} s{rate}), fingerprint {self.fingerprint[:12]}"
        ]
        if self.unreadable:
            lines.append(f"{len(self.unreadable)} unreadable, recorded in the store:")
            lines += [f"  {name}: {reason}" for name, reason in self.unreadable.items()]
        leaks = [same for same in self.duplicates if same.leaks]
        if leaks:
            lines.append(f"{len(leaks)} images stand in more than one split:")
            lines += [f"  {same.text(self.classes)}" for same in leaks]
        if len(self.duplicates) > len(leaks):
            lines.append(f"{len(self.duplicates) - len(leaks)} images repeat within a split")
        return "\n".join(lines)


def extract(options: ExtractOptions, console: Console) -> ExtractSummary:
    """Encode what the store lacks, with a progress bar on ``console``; raises SamcacheError."""
    source = open_source(options.source, options.columns)
    if options.limit is not None:
        source = source.limited(options.limit)
    if not options.allow_split_groups:
        _refuse_split_groups(source)
    checkpoint = options.checkpoint or official_checkpoint(options.encoder)
    encoder = load_encoder(options.encoder, checkpoint, options.levels, options.image_size)
    _check_pool(encoder.shapes, options.pool, encoder.image_size)
    samples = hashed_ids(source.samples) if options.hash_ids else source.samples
    with exclusive_writer(options.store):
        store = open_or_create(source, samples, encoder, options)
        todo = sum(stop - start for start, stop in map(store.layout.rows_of, store.pending()))
        started = time.perf_counter()
        _fill(store, source, encoder, options, todo, console)
        seconds = time.perf_counter() - started
    failed = store.samples[store.samples["status"] == "unreadable"]
    unreadable = dict(zip(failed["id"], failed["reason"], strict=True))
    return ExtractSummary(
        store.layout.rows,
        todo,
        unreadable,
        seconds,
        store.fingerprint,
        find_duplicates(store.samples),
        store.dataset.classes,
    )


def _fill(
    store: Store,
    source: Source,
    encoder: Encoder,
    options: ExtractOptions,
    todo: int,
    console: Console,
) -> None:
    """Encode what is pending, behind a progress bar that starts at what is done."""
    rows, device = store.layout.rows, torch.device(options.device)
    with _progress(console) as progress:
        task = progress.add_task("encoding", total=rows, completed=rows - todo)
        shard_encoder = ShardEncoder(
            model=encoder.model.to(device),
            device=device,
            identity=store.identity,
            shapes=store.layout.level_shapes,
            is_train=(source.samples["split"] == "train").to_numpy(),
            batch_size=options.batch_size,
            on_progress=lambda images: progress.advance(task, images),
        )
        encode_pending(source, store, shard_encoder, options.strict)


def open_or_create(
    source: Source, samples: pd.DataFrame, encoder: Encoder, options: ExtractOptions
) -> Store:
    """The store of these options: an existing one if identity and samples agree, or a new one.

    samples: the source's table as the store shall have it. Raises StoreError naming what differs.
    """
    frame = options.frame_size
    if frame is None:
        frame = min(encoder.image_size, _DEFAULT_FRAME)
    identity = Identity(
        encoder=encoder.name,
        weights=encoder.weights,
        preprocessing=options.preprocessing or ARCHITECTURES[encoder.name].preprocessing,
        image_size=encoder.image_size,
        frame_size=frame,
        levels=tuple(encoder.levels),
        pool=options.pool,
        dtype=options.dtype,
    )
    path = options.store
    if path.is_dir() and not creation_was_interrupted(path):
        store = Store(path, "r+")
        _check_same(store, identity, source.classes, samples)
        return store
    shapes = {
        level: (channels, height // options.pool, width // options.pool)
        for level, (channels, height, width) in encoder.shapes.items()
    }
    layout = Layout(len(samples), options.shard_rows, shapes)
    dataset = Dataset(source.name, source.classes, source.split_origin)
    return Store.create(path, identity, dataset, samples, layout, _provenance())


def _refuse_split_groups(source: Source) -> None:
    """A patient in two splits makes the test split easier than the world: raises SourceError."""
    divided = split_groups(source.samples)
    for group, splits in divided.items():
        raise SourceError(
            f"{len(divided)} groups stand in more than one split, first {group!r} in "
            f"{' and '.join(splits)}: mend the splits, or accept it with --allow-split-groups"
        )


def _check_same(
    store: Store, identity: Identity, classes: tuple[str, ...], samples: pd.DataFrame
) -> None:
    differences = store.identity.differences(identity)
    if differences:
        raise StoreError(
            f"{store.path} was made with other settings: {'; '.join(differences)}. Use the same "
            "settings to resume it, or another --store"
        )
    difference = describe_difference(store.samples, samples)
    if store.dataset.classes != classes:
        difference = f"classes {store.dataset.classes} in the store, {classes} in the source"
    if difference:
        raise StoreError(
            f"{store.path} was made from other samples: {difference}. Use another --store"
        )


def _check_pool(shapes: dict[str, tuple[int, int, int]], pool: int, image_size: int) -> None:
    for level, (_, height, width) in shapes.items():
        if height % pool or width % pool:
            raise ConfigError(
                f"--pool {pool} does not divide level {level}, which is {height} x {width} at "
                f"--image-size {image_size}: choose a pool that divides it"
            )


def _provenance() -> dict[str, object]:
    packages = ("samcache", "torch", "torchvision", "timm", "numpy", "zarr", "pillow")
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} images/s" if speed else "", style="progress.data.speed")


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeElapsedColumn(),
        TextColumn("elapsed,"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        speed_estimate_period=60,
    )
