"""Check for a bucket's credentials before a request waits minutes for them.

Without credentials in the environment, object_store asks the metadata service of a cloud machine,
which does not exist on other machines.
"""

import http.client
import os
from pathlib import Path
from urllib.parse import urlsplit

from samcache.cache.errors import StoreError
from samcache.cache.objects.request_errors import describe_missing_credentials

_PATIENCE = 2.0  # seconds; the service is on the same machine
_SERVICE = "http://169.254.169.254"
_VARIABLES = {  # scheme -> what the names begin with, and what any of them contains
    "s3": ("AWS_", ("ACCESS_KEY_ID", "TOKEN_FILE", "CREDENTIALS", "SKIP_SIGNATURE")),
    "gs": ("GOOGLE_", ("SERVICE_ACCOUNT", "CREDENTIALS", "BEARER_TOKEN", "SKIP_SIGNATURE")),
    "az": ("AZURE_", ("KEY", "SAS", "TOKEN", "SECRET", "CLI", "SKIP_SIGNATURE", "EMULATOR")),
}
_ELSEWHERE = ("IDENTITY_ENDPOINT", "MSI_ENDPOINT", "AZURE_MSI_ENDPOINT")  # Azure's other services
_GCLOUD = Path(".config/gcloud/application_default_credentials.json")


def check_credentials(scheme: str, name: str) -> None:
    """Raise StoreError where neither environment nor machine has credentials for a bucket."""
    begin, parts = _VARIABLES[scheme]
    configured = any(
        value and variable.startswith(begin) and any(part in variable for part in parts)
        for variable, value in os.environ.items()
    )
    if configured or (scheme == "gs" and (Path.home() / _GCLOUD).is_file()):
        return
    if scheme == "az" and any(os.environ.get(variable) for variable in _ELSEWHERE):
        return
    disabled = os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true"
    service = os.environ.get(f"{begin}METADATA_ENDPOINT") or _SERVICE
    if (scheme == "s3" and disabled) or not _does_answer(service):
        raise StoreError(describe_missing_credentials(name))


def _does_answer(service: str) -> bool:
    """Whether a web server answers anything at all, in time."""
    place = urlsplit(service)
    try:
        connection = http.client.HTTPConnection(place.hostname or "", place.port, _PATIENCE)
        try:
            connection.request("GET", "/")
            connection.getresponse()
        finally:
            connection.close()
    except (OSError, http.client.HTTPException):
        return False
    return True
