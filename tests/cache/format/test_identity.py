"""Two stores have one fingerprint exactly when their numbers are made alike."""

import json
from dataclasses import asdict, fields, replace

import pytest

from samcache.cache.errors import StoreError
from samcache.cache.format.identity import Identity

IDENTITY = Identity(
    encoder="vit_b",
    weights="ab" * 32,
    preprocessing="sam",
    image_size=1024,
    frame_size=256,
    levels=("patch", "neck"),
    pool=4,
)


def changed(name: str) -> Identity:
    value = getattr(IDENTITY, name)
    other: object = (*value, "x") if isinstance(value, tuple) else value * 2
    return replace(IDENTITY, **{name: other})


@pytest.mark.parametrize("name", [field.name for field in fields(Identity)])
def test_every_field_changes_the_fingerprint_and_is_named(name: str) -> None:
    other = changed(name)
    assert other.compute_fingerprint() != IDENTITY.compute_fingerprint()
    (text,) = IDENTITY.list_differences(other)
    assert text.startswith(f"{name} is ")


def test_fingerprint_is_stable() -> None:
    """Changing this value orphans every store in the world: it must be meant."""
    assert IDENTITY.compute_fingerprint().startswith(
        "5c96e1cda4deae6fbf7fb68ef631cbae3bff57f2db1128170f95eac614d2575a"
    )


def test_json_round_trip() -> None:
    assert Identity.from_json(json.loads(json.dumps(asdict(IDENTITY)))) == IDENTITY


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2"),
        ({"pool": "4"}, "pool: expected int, got str"),
        ({"pool": True}, "pool: expected int, got bool"),
        ({"levels": "patch"}, "levels: expected array, got str"),
        ({"levels": [1]}, "expected str, got int"),
        ({"colour": 1}, "unknown fields"),
    ],
)
def test_damaged_json_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        Identity.from_json({**asdict(IDENTITY), "levels": ["patch", "neck"], **change})


def test_json_that_is_no_object_is_refused() -> None:
    with pytest.raises(StoreError, match="not a JSON object"):
        Identity.from_json([1])
