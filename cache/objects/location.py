"""The location of a store: a folder, or a URL with credentials and endpoint in the environment."""

import os
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from obstore.exceptions import BaseError
from obstore.store import HTTPStore, ObjectStore, from_url

from samcache.cache.errors import StoreError, read_first_line
from samcache.cache.objects.base import Objects
from samcache.cache.objects.bucket import RETRIES, BucketObjects
from samcache.cache.objects.credentials import check_credentials
from samcache.cache.objects.folder import FolderObjects
from samcache.cache.objects.web import WebObjects

_BUCKETS = ("s3", "gs", "az")
_WEB = ("http", "https")
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_INNER_RETRIES = 3  # of object_store itself, which alone resumes in the middle of an object
# A stalled connection ends after a minute. The same clock runs while a body is sent, until the
# answer arrives; so large objects have another limit.
_STALL = {"read_timeout": timedelta(minutes=1), "timeout": timedelta(hours=1)}
# A server that has not answered yet may never answer: only two requests are made.
_FIRST = {
    "read_timeout": timedelta(seconds=20),
    "connect_timeout": timedelta(seconds=20),
    "timeout": timedelta(hours=1),
}
_UPLOAD = {"timeout": timedelta(minutes=20)}


def open_objects(location: str | Path) -> Objects:
    """The objects below a folder, ``s3://``, ``gs://`` or ``az://`` bucket, or ``https://`` page.

    Nothing is read yet. ``SAMCACHE_RETRIES`` sets how often a request is repeated. Raises
    StoreError for a URL of another kind or one that carries a password, and where a bucket's
    credentials are neither in the environment nor offered by the machine.
    """
    text = str(location)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return FolderObjects(Path(location))
    if scheme not in _BUCKETS + _WEB:
        raise StoreError(f"{scheme}:// is unknown: give a folder, {', '.join(_BUCKETS + _WEB)}")
    if "@" in rest.partition("/")[0] or "?" in rest:
        raise StoreError(f"{scheme}://…: credentials belong in the environment, not in the URL")
    name = text.rstrip("/")
    if not rest.partition("/")[0]:
        raise StoreError(f"{name}: the URL names no bucket or host")
    retries = _read_retries()
    try:
        if scheme in _BUCKETS:
            check_credentials(scheme, name)
        connect = partial(_connect, scheme, name)
        uploads = connect(_UPLOAD, retries) if scheme in _BUCKETS else None
        lasting, first = connect(_STALL, retries), connect(_FIRST, 0)
        bucket = BucketObjects(lasting, name, uploads, retries, first)
        return WebObjects(bucket) if scheme in _WEB else bucket
    except (BaseError, ValueError) as error:
        raise StoreError(f"{name} cannot be used: {read_first_line(error)}") from None


def is_remote(location: str | Path) -> bool:
    """Whether a location is a URL."""
    return "://" in str(location)


def _connect(scheme: str, name: str, times: dict[str, timedelta], retries: int) -> ObjectStore:
    """obstore's store for a URL; no connection is made yet."""
    options: dict[str, Any] = dict(times)
    if scheme == "http" or _is_endpoint_plain(scheme):
        options["allow_http"] = True
    repeats: Any = {
        "max_retries": min(_INNER_RETRIES, retries),
        "retry_timeout": timedelta(hours=1),  # the outer retries keep the time
    }
    build: Any = HTTPStore.from_url if scheme in _WEB else from_url
    # Objects are deleted one by one, which every server can.
    config: Any = {"config": {"disable_bulk_delete": True}} if scheme == "s3" else {}
    store: ObjectStore = build(name, client_options=options, retry_config=repeats, **config)
    return store


def _is_endpoint_plain(scheme: str) -> bool:
    """Whether the environment names an endpoint without encryption: that asks for it."""
    names = _ENDPOINTS.get(scheme, ())
    return any(os.environ.get(name, "").startswith("http://") for name in names)


def _read_retries() -> int:
    try:
        return max(0, int(os.environ.get("SAMCACHE_RETRIES", RETRIES)))
    except ValueError:
        raise StoreError("SAMCACHE_RETRIES should be a whole number") from None
