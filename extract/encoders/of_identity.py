"""Load the encoder that made the features of an identity, and no other."""

from dataclasses import dataclass
from pathlib import Path

from samcache.cache.errors import CheckpointError
from samcache.cache.format.identity import Identity
from samcache.extract.encoders.base import Architecture
from samcache.extract.encoders.load import Encoder, load_encoder
from samcache.extract.encoders.registry import find_architecture, is_own_code
from samcache.extract.encoders.weights import describe_hash, find_official_checkpoint


@dataclass(frozen=True)
class GivenEncoder:
    """What a user gives of the encoder that an identity names.

    checkpoint: the file of weights; None takes the official one. code: the name under which the
    user allows to import an encoder of her own, "" for none: a store or a run that somebody else
    has made never decides what is imported.
    """

    checkpoint: Path | None = None
    code: str = ""


def load_encoder_of(identity: Identity, given: GivenEncoder) -> Encoder:
    """Load an identity's encoder on the CPU, with the identity's levels and in its precision.

    Raises CheckpointError where code or weights are not those that the identity records.
    """
    architecture = find_architecture_of(identity, given.code)
    checkpoint = given.checkpoint
    if checkpoint is None:
        _refuse_unofficial(architecture, identity)
        checkpoint = find_official_checkpoint(architecture)
    return load_encoder(
        architecture,
        checkpoint,
        identity.levels,
        identity.image_size,
        identity.precision,
        expected=identity.weights,
    )


def find_architecture_of(identity: Identity, code: str) -> Architecture:
    """The architecture that an identity records; imports only the code that the user allows.

    Raises CheckpointError where that is another code, or none is given and some is needed.
    """
    asked = identity.encoder.partition("@")[0]
    if is_own_code(asked) and code != asked:
        raise CheckpointError(
            f"these features were made by the code {ascii(asked)[:80]}: name it to import it",
            hint="encoder",
        )
    architecture = find_architecture(code or asked)
    if architecture.name != identity.encoder:
        raise CheckpointError(
            f"these features were made by {ascii(identity.encoder)[:120]}, found "
            f"{architecture.name}: use the code that made them, or extract into another store",
            hint="encoder",
        )
    return architecture


def _refuse_unofficial(architecture: Architecture, identity: Identity) -> None:
    official = architecture.official
    if architecture.fetch is None and (official is None or official.sha256 != identity.weights):
        raise CheckpointError(
            f"these features were made with {identity.encoder} and the weights "
            f"{describe_hash(identity.weights)}, which are not the official file: give the "
            "file with these weights",
            hint="checkpoint",
        )
