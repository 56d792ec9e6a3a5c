"""Sample ids and groups as keyed hashes, for stores that leave the house."""

import hashlib
import hmac
import os

import pandas as pd

from samcache.cache.errors import ConfigError

KEY_VARIABLE = "SAMCACHE_ID_KEY"
_LEAST_KEY = 16


def hash_ids_in(samples: pd.DataFrame) -> pd.DataFrame:
    """A sample table whose ids and groups are HMAC-SHA256 hashes (32 hex digits).

    The key comes from the environment variable SAMCACHE_ID_KEY and is stored nowhere: who has it
    can tell which image is which, nobody else can. The same key gives the same hashes. Raises
    ConfigError where the key is missing or shorter than 16 characters.
    """
    key = os.environ.get(KEY_VARIABLE, "")
    if len(key) < _LEAST_KEY:
        raise ConfigError(
            f"hashed ids need a secret of at least {_LEAST_KEY} characters in {KEY_VARIABLE}, "
            f"found {len(key)}: set the variable, and keep the secret: it links the hashes to the "
            "samples",
            hint="hash_ids",
        )

    def hash_text(text: str) -> str:
        return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()[:32]

    groups = samples["group"].map(lambda text: hash_text(text) if text else "")
    return samples.assign(id=samples["id"].map(hash_text), group=groups)
