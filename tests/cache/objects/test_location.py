"""URLs that cannot be used, and servers that refuse: one line each, soon, without secrets."""

import re
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from servers import free_port, one_line
from store_content import create

from samcache.cache.objects import bucket as objects
from samcache.cache.objects import location
from samcache.cache.objects.location import open_objects
from samcache.cache.store import Store


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """One retry, after no pause worth the name."""
    monkeypatch.setenv("SAMCACHE_RETRIES", "1")
    monkeypatch.setattr(objects, "_PAUSE", 0.01)


@pytest.mark.usefixtures("impatient")
def test_a_server_without_conditional_writes_is_refused(
    refusing: Callable[..., Any], aws: Callable[[str], None]
) -> None:
    aws(refusing(501, b"<Error><Code>NotImplemented</Code></Error>").url)

    one_line(lambda: open_objects("s3://b/x").create("k", b""), "conditional writes")


@pytest.mark.parametrize(("status", "told"), [(401, "refused"), (403, "refused"), (404, "bucket")])
def test_a_refused_credential_is_one_line_and_is_not_tried_again(
    refusing: Callable[..., Any], aws: Callable[[str], None], status: int, told: str
) -> None:
    body = (
        b"<Error><Code>InvalidAccessKeyId</Code><Message>No such key.</Message>"
        b"<AWSAccessKeyId>AKIAEXAMPLE</AWSAccessKeyId><StringToSign>Signature</StringToSign></Error>"
    )
    server = refusing(status, body)
    aws(server.url)
    held = open_objects("s3://b/toy.zarr")
    calls = {
        "listing": lambda: held.list_objects(""),
        "children": lambda: held.list_children(""),
        "create": lambda: held.create("k", b"1"),
        "put": lambda: held.put("k", b"1"),
    }
    if status != 404:
        calls |= {
            "get": lambda: held.get("k"),
            "size": lambda: held.find_size("k"),
            "delete": lambda: held.delete(["k"]),
            "open": lambda: Store("s3://b/toy.zarr"),
        }

    for call in calls.values():
        text = one_line(call, rf"^s3://b/toy\.zarr: .*{told}")
        assert "InvalidAccessKeyId: No such key." in text or call is calls.get("size")
    assert server.requests == len(calls)


def test_an_absent_bucket_is_said_to_be_no_store(s3: str) -> None:
    one_line(lambda: Store(f"{s3}-elsewhere/toy.zarr"), "no store at s3://")
    one_line(lambda: create(f"{s3}-elsewhere/toy.zarr"), "there is no such bucket")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [("http://127.0.0.1:{port}", "refused"), ("http://no-such-host.invalid", "lookup")],
)
def test_an_endpoint_that_cannot_be_reached_is_one_line_soon(
    aws: Callable[[str], None], endpoint: str, reason: str
) -> None:
    aws(endpoint.format(port=free_port()))
    begun = time.monotonic()

    one_line(lambda: Store("s3://b/toy.zarr"), f"^s3://b/toy.zarr/zarr.json cannot.*{reason}")
    one_line(lambda: open_objects("s3://b/toy.zarr").create("k", b""), f"cannot.*{reason}")

    assert time.monotonic() - begun < 5


def test_a_wrong_host_is_given_up_before_an_outage_is(
    aws: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_FIRST_PATIENCE", 0.5)
    aws(f"http://127.0.0.1:{free_port()}")
    begun = time.monotonic()

    one_line(lambda: Store("s3://b/toy.zarr"), "cannot be reached")

    assert time.monotonic() - begun < 5


def test_a_server_that_never_answers_is_given_up_within_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wait, pause = location._FIRST["read_timeout"].total_seconds(), 1.5 * objects._PAUSE
    assert wait > objects._FIRST_PATIENCE, "it is asked twice"
    assert 2 * wait + pause <= 60
    short = dict.fromkeys(("read_timeout", "connect_timeout"), timedelta(seconds=0.3))
    monkeypatch.setattr(location, "_FIRST", short)
    monkeypatch.setattr(objects, "_FIRST_PATIENCE", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        begun = time.monotonic()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/toy.zarr"
        one_line(lambda: Store(url), "cannot be reached: no answer in time")
    assert time.monotonic() - begun < 3


def test_without_credentials_nothing_waits_for_a_machine_that_has_none(
    monkeypatch: pytest.MonkeyPatch, aws: Callable[[str], None], refusing: Callable[..., Any]
) -> None:
    aws("http://127.0.0.1:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    begun = time.monotonic()

    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        port = silent.getsockname()[1]
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{port}")
        one_line(lambda: Store("s3://b/toy.zarr"), "no credentials.*AWS_ACCESS_KEY_ID")
    assert time.monotonic() - begun < 5

    monkeypatch.setenv("AWS_METADATA_ENDPOINT", refusing(404).url)
    one_line(lambda: Store("s3://b/toy.zarr"), "no credentials.*AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    one_line(lambda: open_objects("s3://b/toy.zarr"), "no credentials.*AWS_ACCESS_KEY_ID")


def test_a_page_in_place_of_an_object_is_damage_and_no_commit(
    refusing: Callable[..., Any],
) -> None:
    """Some web servers answer everything with a page."""
    url = refusing(200, b"<html>welcome</html>").url

    one_line(lambda: Store(f"{url}/toy.zarr"), "is not a samcache store")


@pytest.mark.parametrize(
    "url", ["s3://key:word@bucket/x", "https://user:word@host/x", "https://host/x?sig=word"]
)
def test_credentials_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    text = one_line(lambda: open_objects(url), "credentials belong in the environment")

    assert "word" not in text


@pytest.mark.parametrize("url", ["ftp://host/x", "file:///x", "s3a://b/x", "S3://b/x"])
def test_unknown_kinds_of_url_are_refused(url: str) -> None:
    one_line(lambda: open_objects(url), "is unknown: give a folder, s3, gs, az, http, https")


@pytest.mark.parametrize("url", ["s3://", "s3:///x", "https://", "gs:///x"])
def test_a_url_without_a_bucket_is_refused(url: str) -> None:
    one_line(lambda: open_objects(url), "names no bucket or host")


def test_urls_of_every_cloud_open_without_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")

    for url in ("gs://bucket/x", "az://container/x", "s3://bucket/x"):
        assert open_objects(url).listable
    assert not open_objects("https://example.invalid/x").listable


@pytest.mark.usefixtures("impatient")
def test_a_web_server_that_refuses_is_not_blamed_on_credentials(
    refusing: Callable[..., Any],
) -> None:
    one_line(lambda: Store(f"{refusing(403).url}/x"), "403 Forbidden.*must be public")


def test_what_a_folder_refuses_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "store/zarr.json").mkdir(parents=True)

    one_line(lambda: Store(tmp_path / "file"), "no store at")
    one_line(lambda: open_objects(tmp_path / "file").put("k", b""), "file")
    one_line(
        lambda: open_objects(tmp_path / "store").get("zarr.json"), "is a folder, not a regular file"
    )


def test_azure_without_an_account_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_SKIP_SIGNATURE", "true")
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)

    one_line(lambda: open_objects("az://container/x"), "Account must be specified")


def test_retries_that_are_no_number_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMCACHE_RETRIES", "often")

    one_line(lambda: open_objects("https://host/x"), "should be a whole number")


def test_no_answer_can_command_a_terminal(
    refusing: Callable[..., Any], aws: Callable[[str], None]
) -> None:
    aws(refusing(403, b"<Error><Message>\x1b[2Jgone\r\n</Message></Error>").url)

    text = one_line(lambda: open_objects("s3://b/x").get("k"), "gone")

    assert re.fullmatch(r"[ -~]*", text)
