"""What makes two stores' numbers the same: the identity, and the fingerprint that names it."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any

from msgspec import Meta

from samcache.cache.errors import FormatError, StoreError
from samcache.cache.files.typed_json import Extent, Text, convert

FORMAT = 1

FrameSize = Annotated[int, Meta(ge=0, le=1 << 16)]
Levels = Annotated[tuple[Text, ...], Meta(min_length=1, max_length=64)]

_SHOWN = 80  # characters of what a damaged store holds instead


@dataclass(frozen=True)
class Identity:
    """All settings that change a cached number, and nothing that does not.

    Paths, dates, devices and library versions are provenance, not identity.
    """

    encoder: Text  # architecture, e.g. "vit_b"
    weights: Text  # SHA-256 of the checkpoint file, hex
    preprocessing: Text  # e.g. "sam": longest side, SAM's mean and deviation, zero padding
    image_size: Extent  # side of the encoder's square input, pixels
    frame_size: FrameSize  # side of the cached uint8 images, pixels; 0 where none are cached
    levels: Levels  # in the order of depth
    pool: Extent  # side of the square averaged before caching, in encoder map cells
    dtype: Text = "float16"  # of the cached features
    precision: Text = "float32"  # of the encoder's arithmetic
    window: Text = "auto"  # values shown of deep greyscale: each image's own, or "-160,240"
    views: tuple[Text, ...] = ("identity",)
    format: int = FORMAT

    def compute_fingerprint(self) -> str:
        """SHA-256 (hex, 64 characters) of the identity as canonical JSON."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def list_differences(self, other: "Identity") -> list[str]:
        """One text per field that differs, such as ``pool is 4 here, 1 there``."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return [
            f"{name} is {_shorten(a)} in the store, {_shorten(b)} in this run"
            for name, a, b in pairs
            if a != b
        ]

    @classmethod
    def from_json(cls, value: Any) -> "Identity":
        """Rebuild an identity from a store's attributes; raises StoreError where it cannot be."""
        if not isinstance(value, dict):
            raise StoreError("the store's identity is not a JSON object: the store is damaged")
        if value.get("format") != FORMAT:
            raise FormatError(
                f"the store has format {ascii(value.get('format'))[:_SHOWN]}, this samcache reads "
                f"format {FORMAT}: use the samcache version that wrote it"
            )
        names = {f.name for f in fields(cls)}
        if set(value) != names:
            odd = ascii(sorted(set(value) ^ names))[:_SHOWN]
            raise StoreError(f"the store's identity has missing or unknown fields: {odd}")
        try:
            return convert(value, cls)
        except ValueError as error:
            raise StoreError(f"the store's identity is damaged ({error})") from None


def _shorten(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64:
        return value[:12] + "…"
    return ",".join(value) if isinstance(value, tuple) else repr(value)
