"""Records that know when they are damaged: JSON with a checksum, inside a Zarr group's metadata.

One object, one write, and any Zarr reader accepts it as an empty group with attributes.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal

import xxhash

from samcache.cache.files.typed_json import convert, parse_json


def compute_checksum(*parts: bytes | memoryview) -> str:
    """XXH3, 128 bits, as 32 hex digits, of all parts in a row: against accidents, and fast."""
    digest = xxhash.xxh3_128()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def seal(content: dict[str, Any]) -> bytes:
    """A record as the metadata of a Zarr group; ``attributes.checksum`` is over its JSON."""
    content = json.loads(json.dumps(content))  # as it will be read: 9 sorts before 10, not as text
    attributes = {"samcache": content, "checksum": compute_checksum(encode_canonical(content))}
    node = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return json.dumps(node).encode()


def unseal(data: bytes) -> dict[str, Any]:
    """The content of a record; raises ValueError where it is not what was sealed.

    The content is JSON of bounded depth. What it means is for ``typed_json.convert`` to check.
    """
    try:
        node = convert(parse_json(data), _Node)
    except ValueError as error:
        raise ValueError(f"it is not a record: {error}") from None
    content = node.attributes.samcache
    if compute_checksum(encode_canonical(content)) != node.attributes.checksum:
        raise ValueError("its checksum does not match")
    return content


@dataclass(frozen=True)
class _Attributes:
    samcache: dict[str, Any]
    checksum: str


@dataclass(frozen=True)
class _Node:
    zarr_format: Literal[3]
    node_type: Literal["group"]
    attributes: _Attributes


def encode_canonical(content: dict[str, Any]) -> bytes:
    """JSON in ASCII with sorted keys and no spaces."""
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
