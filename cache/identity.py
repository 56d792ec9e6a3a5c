"""What makes two stores' numbers the same: the identity, and the fingerprint that names it."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from samcache.cache.errors import StoreError

FORMAT = 1


@dataclass(frozen=True)
class Identity:
    """All settings that change a cached number, and nothing that does not.

    Paths, dates, devices and library versions are provenance and stand elsewhere.
    """

    encoder: str  # architecture, e.g. "vit_b"
    weights: str  # SHA-256 of the checkpoint file, hex
    preprocessing: str  # e.g. "sam": longest side, SAM's mean and deviation, zero padding
    image_size: int  # side of the encoder's square input, pixels
    frame_size: int  # side of the cached uint8 images, pixels; 0 where none are cached
    levels: tuple[str, ...]  # in the order of depth
    pool: int  # side of the square averaged before caching, in encoder map cells
    dtype: str = "float16"  # of the cached features
    precision: str = "float32"  # of the encoder's arithmetic
    window: str = "auto"  # values shown of deep greyscale: each image's own, or "-160,240"
    views: tuple[str, ...] = ("identity",)
    format: int = FORMAT

    def fingerprint(self) -> str:
        """SHA-256 (hex, 64 characters) of the identity as canonical JSON."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def differences(self, other: "Identity") -> list[str]:
        """One text per field that differs, such as ``pool is 4 here, 1 there``."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return [
            f"{name} is {_short(a)} in the store, {_short(b)} in this run"
            for name, a, b in pairs
            if a != b
        ]

    @classmethod
    def from_json(cls, value: Any) -> "Identity":
        """Rebuild an identity from a store's attributes; raises StoreError where it cannot be."""
        if not isinstance(value, dict):
            raise StoreError("the store's identity is not a JSON object: the store is damaged")
        if value.get("format") != FORMAT:
            raise StoreError(
                f"the store has format {value.get('format')!r}, this samcache reads format "
                f"{FORMAT}: use the samcache version that wrote it"
            )
        names = {f.name: f.type for f in fields(cls)}
        if set(value) != set(names):
            odd = sorted(set(value) ^ set(names))
            raise StoreError(f"the store's identity has missing or unknown fields: {odd}")
        for name, kind in names.items():
            _check_type(name, kind, value[name])
        lists = {k: tuple(v) for k, v in value.items() if isinstance(v, list)}
        return cls(**{**value, **lists})


def _check_type(name: str, kind: Any, value: Any) -> None:
    if kind in (int, str):
        fits = type(value) is kind
    else:
        fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
    if not fits:
        raise StoreError(f"the store's identity field {name} holds {value!r}: it is damaged")


def _short(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64:
        return value[:12] + "…"
    return ",".join(value) if isinstance(value, tuple) else repr(value)
