"""The precision contract: a few images encoded in float32 and as configured, and compared."""

from dataclasses import replace

import torch
from torch import Tensor

from samcache.cache.format.identity import Identity
from samcache.cache.format.precision import LevelPrecision, Precision
from samcache.cache.memory import ran_out_of_memory
from samcache.extract.encoders.base import LevelEncoder
from samcache.extract.pipeline.batch_encoder import BatchEncoder
from samcache.extract.pipeline.devices.batch_size import BatchSize
from samcache.extract.pipeline.read.reuse import KnownRows
from samcache.extract.pipeline.read.rows import ReadyImage, read_row
from samcache.extract.pipeline.reduction import cast_maps, pool_maps, refuse_lost_values
from samcache.extract.sources.base import Source

PROBE = 8  # images
_WIDER = 32  # looked at where some of the first choice cannot be read


def read_probe_images(source: Source, identity: Identity) -> list[ReadyImage]:
    """Read up to PROBE images spread over the source; other images replace unreadable images."""
    images: list[ReadyImage] = []
    for count in (PROBE, _WIDER):
        few = source.limit(count)
        rows = (read_row(few, n, n, KnownRows(), identity) for n in range(len(few.samples)))
        images = [row.image for row in rows if row.image is not None]
        if len(images) >= min(PROBE, len(source.samples)):
            break
    return images[:: max(1, len(images) // PROBE)][:PROBE]


@torch.inference_mode()
def measure_precision(
    encoder: BatchEncoder,
    batch_size: BatchSize,
    images: list[ReadyImage],
    exact: LevelEncoder | None = None,
) -> Precision | None:
    """Compare what the store would keep of some images with float32's; None without images.

    ``encoder`` is configured as the run will be, ``exact`` the same encoder in float32, or None
    where the run itself is float32. The reference is encoded one image at a time, pooled in
    float32. Raises ConfigError where the storage dtype cannot hold a value.
    """
    identity, device = encoder.identity, encoder.device
    reference = replace(encoder, model=exact.to(device)) if exact else None
    figures: dict[str, list[Tensor]] = {level: [] for level in identity.levels}
    size, left = min(batch_size.size, max(1, len(images))), list(images)
    batch_size = replace(batch_size, size=size)  # halves of more images than there are fit alike
    while left:
        batch = left[: batch_size.size]
        try:
            configured = _encode_pooled(encoder, batch)
            exact_maps = (
                [_encode_pooled(reference, [image]) for image in batch] if reference else None
            )
        except RuntimeError as error:
            if not ran_out_of_memory(error):
                raise
            batch_size.halve(device)
            continue
        left = left[len(batch) :]
        for level, values in configured.items():
            kept, largest = cast_maps(values, identity.dtype)
            refuse_lost_values(level, kept.cpu().numpy(), float(largest), identity.precision)
            for place, one in enumerate(kept):
                wanted = exact_maps[place][level][0] if exact_maps else values[place]
                figures[level].append(_compare_maps(wanted, one))
    if not images:
        return None
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    levels = {level: _summarise_figures(torch.stack(found)) for level, found in figures.items()}
    return Precision(len(images), name, levels)


def _encode_pooled(encoder: BatchEncoder, images: list[ReadyImage]) -> dict[str, Tensor]:
    """Compute level -> pooled maps of some images, without keeping the unpooled maps."""
    pool = encoder.identity.pool
    return {level: pool_maps(full, pool) for level, full in encoder.compute_maps(images).items()}


def _compare_maps(reference: Tensor, kept: Tensor) -> Tensor:
    """Compute cosine and relative error of one image's maps, (2,) float64 on the CPU."""
    a, b = reference.cpu().double().flatten(), kept.cpu().double().flatten()
    norms = a.norm() * b.norm()
    cosine = (a @ b / norms).clamp(-1, 1) if norms > 0 else torch.equal(a, b)
    scale = a.abs().amax().clamp(min=torch.finfo(torch.float64).tiny)
    return torch.tensor([float(cosine), float((a - b).abs().amax() / scale)], dtype=torch.float64)


def _summarise_figures(figures: Tensor) -> LevelPrecision:
    cosine, error = figures.unbind(1)
    return LevelPrecision(float(cosine.mean()), float(cosine.min()), float(error.max()))
