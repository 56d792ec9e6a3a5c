"""Load the encoder that made the features of an identity, and no other."""

from pathlib import Path

from samcache.cache.errors import CheckpointError
from samcache.cache.format.identity import Identity
from samcache.extract.encoders.load import Encoder, load_encoder
from samcache.extract.encoders.registry import find_architecture
from samcache.extract.encoders.weights import describe_hash, find_official_checkpoint


def load_encoder_of(identity: Identity, checkpoint: Path | None) -> Encoder:
    """Load an identity's encoder on the CPU, with the identity's levels and in its precision.

    checkpoint: the file of weights; None takes the official one, which is downloaded once. Raises
    CheckpointError where the weights are not those that the identity records.
    """
    if checkpoint is None:
        official = find_architecture(identity.encoder).official
        if official is None or official.sha256 != identity.weights:
            raise CheckpointError(
                f"these features were made with {identity.encoder} and the weights "
                f"{describe_hash(identity.weights)}, which are not the official file: give the "
                "file with these weights",
                hint="checkpoint",
            )
        checkpoint = find_official_checkpoint(identity.encoder)
    return load_encoder(
        identity.encoder,
        checkpoint,
        identity.levels,
        identity.image_size,
        identity.precision,
        expected=identity.weights,
    )
