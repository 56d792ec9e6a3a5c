"""What a store holds and lacks, as plain data for ``samcache cache info``."""

from dataclasses import asdict
from typing import Any

from samcache.cache.layout import IMAGES, feature_path
from samcache.cache.samples import SPLITS
from samcache.cache.store import Store


def describe(store: Store) -> dict[str, Any]:
    """Identity, counts, levels and completeness of a store, ready for JSON.

    ``counts`` is split -> class name -> readable committed samples; bytes are as stored.
    """
    samples, layout = store.samples, store.layout
    usable = samples[samples["status"] == "ok"]
    splits = [split for split in SPLITS if (samples["split"] == split).any()]
    failed = samples[samples["status"] == "unreadable"]
    return {
        "path": str(store.path),
        "dataset": asdict(store.dataset),
        "fingerprint": store.fingerprint,
        "identity": asdict(store.identity),
        "rows": layout.rows,
        "readable": len(usable),
        "unreadable": dict(zip(failed["id"], failed["reason"], strict=True)),
        "missing_rows": int((samples["status"] == "missing").sum()),
        "shards": {
            "total": layout.shards,
            "rows_each": layout.rows_per_shard,
            "committed": len(store.commits),
            "missing": store.pending(),
        },
        "counts": {
            split: {
                name: int(((usable["split"] == split) & (usable["label"] == label)).sum())
                for label, name in enumerate(store.dataset.classes)
            }
            for split in splits
        },
        "levels": {
            level: {
                "shape": list(store.features(level).shape),
                "dtype": store.identity.dtype,
                "bytes": store.bytes_of(feature_path(level)),
            }
            for level in store.identity.levels
        },
        "images": {
            "shape": list(store.images.shape) if store.identity.frame_size else None,
            "bytes": store.bytes_of(IMAGES),
        },
        "last_commit": max((c.written for c in store.commits.values()), default=None),
        "provenance": store.provenance,
    }


def render(description: dict[str, Any]) -> str:
    """The description as a few aligned lines of text for a terminal."""
    identity, shards = description["identity"], description["shards"]
    state = (
        "complete"
        if not shards["missing"]
        else f"{description['missing_rows']} images missing, run extract again to resume"
    )
    lines = [
        f"{description['path']}: {description['dataset']['name']}, {state}",
        f"fingerprint  {description['fingerprint']}",
        f"encoder      {identity['encoder']} at {identity['image_size']} px, pool "
        f"{identity['pool']}, weights {identity['weights'][:12]}…",
        f"images       {description['readable']} readable of {description['rows']}, "
        f"{len(description['unreadable'])} unreadable",
        f"shards       {shards['committed']} of {shards['total']} committed, "
        f"{shards['rows_each']} images each",
        "",
        *_count_lines(description["counts"]),
        "",
        *_array_lines(description),
    ]
    lines += [f"unreadable   {name}: {why}" for name, why in description["unreadable"].items()]
    return "\n".join(lines)


def _count_lines(counts: dict[str, dict[str, int]]) -> list[str]:
    classes = list(next(iter(counts.values()), {}))
    widths = [max(7, len(name)) + 2 for name in classes]
    header = "split".ljust(13) + "".join(
        name.rjust(width) for name, width in zip(classes, widths, strict=True)
    )
    rows = [
        split.ljust(13)
        + "".join(str(row[name]).rjust(w) for name, w in zip(classes, widths, strict=True))
        for split, row in counts.items()
    ]
    return [header + "    total", *(
        line + str(sum(row.values())).rjust(9)
        for line, row in zip(rows, counts.values(), strict=True)
    )]  # fmt: skip


def _array_lines(description: dict[str, Any]) -> list[str]:
    arrays = dict(description["levels"])
    if description["images"]["shape"]:
        arrays["images"] = {**description["images"], "dtype": "uint8"}
    lines = ["array        shape                          dtype        MB"]
    for name, entry in arrays.items():
        shape = " x ".join(map(str, entry["shape"]))
        lines.append(f"{name:<13}{shape:<31}{entry['dtype']:<9}{entry['bytes'] / 1e6:>6.1f}")
    return lines
