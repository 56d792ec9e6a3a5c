"""Errors of an object store as one line for a user, and which requests to repeat."""

import re
from http import HTTPStatus

from samcache.cache.errors import AccessError, StoreError, UnreachableError

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([^<]{1,80})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,200})</Message>")
_CAUSES = (  # in the debug text that obstore adds; the first match is reported
    (re.compile(r'message: "([^"]{1,100})"'), "{}"),
    (re.compile(r'error: "([^"]{1,100})"'), "{}"),
    (re.compile(r"InvalidCertificate\(\s*(\w+)"), "its certificate is not valid: {}"),
    (re.compile(r"TimedOut|kind: Timeout"), "no answer in time"),
    (re.compile(r"IncompleteMessage|IncompleteBody|UnexpectedEof"), "the connection was dropped"),
)
# Where cloud machines find credentials: AWS and Azure by number, GCP by name and number.
_METADATA = ("169.254.169.254", "metadata.google.internal", "/latest/api/token")
_REFUSED = (401, 403)
_PASSING = (408, 409, 425, 429)  # among the client errors


def explain(name: str, key: str, error: Exception) -> StoreError:
    """The error of obstore for a user; an UnreachableError where a repeated request may help.

    Of the answer's body only code and message are shown: the rest may hold parts of a signature.
    """
    text = str(error)
    head = text.partition("\n\nDebug source:")[0]
    if any(place in head for place in _METADATA):
        return StoreError(describe_missing_credentials(name))
    found = _STATUS.search(head)
    status, detail = int(found[1]) if found else 0, _find_detail(head, text)
    if status in _REFUSED:
        advice = "check the credentials in the environment"
        if name.startswith("http"):
            # A public bucket answers 403 also for what is absent, unless it may be listed.
            advice = "the store there, and the listing of a bucket, must be public"
        return AccessError(f"{name}: access refused ({detail}): {advice}")
    if status == HTTPStatus.NOT_FOUND:
        return StoreError(f"{name}: there is no such bucket ({detail})")
    if status // 100 == 3 or "incorrectly configured region" in head:
        return StoreError(f"{name} is in another region: set the region, such as AWS_REGION")
    if status == HTTPStatus.NOT_IMPLEMENTED:
        return StoreError(
            f"{name}: the server lacks an operation ({detail}): use a server that has conditional "
            "writes (If-None-Match)"
        )
    if 400 <= status < 500 and status not in _PASSING and "RequestTimeout" not in head:
        return StoreError(f"{name}/{key}: the request was refused ({detail})")
    return UnreachableError(f"{name}/{key} cannot be reached: {detail}")


def describe_missing_credentials(name: str) -> str:
    """The message for a bucket without credentials in the environment."""
    wanted = {
        "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true",
        "gs": "GOOGLE_APPLICATION_CREDENTIALS, or GOOGLE_SKIP_SIGNATURE=true",
        "az": "AZURE_STORAGE_ACCOUNT_KEY, or AZURE_SKIP_SIGNATURE=true",
    }.get(name.partition("://")[0], "them")
    return f"{name}: no credentials in the environment: set {wanted} for a public bucket"


def _find_detail(head: str, text: str) -> str:
    """Status, code and message of an answer, or why there was none."""
    found = _STATUS.search(head)
    if found is None:
        for pattern, words in _CAUSES:
            if cause := pattern.search(text):
                return _make_printable(words.format(*cause.groups()))
        return _make_printable(head.rpartition(" - ")[2])
    found_in_body = [pattern.search(head) for pattern in (_CODE, _MESSAGE)]
    words = ": ".join(match[1] for match in found_in_body if match)
    return _make_printable(words or f"{found[1]} {_name_status(int(found[1]))}".strip())


def _name_status(status: int) -> str:
    """The standard's words for a status."""
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else ""


def _make_printable(text: str) -> str:
    """One line of at most 300 characters without control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:300]
