"""A picture of each predicted image with the mean gates of every level over it."""

import hashlib
import re
from pathlib import Path

from samcache.cache.errors import ConfigError
from samcache.cache.store import Store
from samcache.train.pictures.overlay import Map, write_panel
from samcache.train.runs.ensemble import Ensemble
from samcache.train.runs.prediction_rows import PredictedShard
from samcache.train.runs.run import Run

_LONGEST = 80  # letters of an id in a file name


def open_heat_map_folder(folder: Path, run: Run) -> None:
    """Make the folder; raises ConfigError where the run has no attention."""
    if not run.design.taps:
        raise ConfigError(f"{run.folder} was trained without attention: it has no heat maps")
    folder.mkdir(parents=True, exist_ok=True)


def write_heat_maps(
    folder: Path, run: Run, ensemble: Ensemble, store: Store, predicted: PredictedShard
) -> list[str]:
    """Write a picture for every readable sample of a shard; their file names, in order.

    The image is the one that the store keeps, the gates are the mean over channels and members.
    """
    readable = predicted.samples[predicted.readable]
    if len(readable) == 0:
        return []
    start, stop = store.commits[int(readable["row"].iloc[0]) // store.rows_per_shard].rows
    images = store.read_images(start, stop)
    means, names = predicted.mean[predicted.readable], []
    for place, (name, row) in enumerate(zip(readable["id"], readable["row"], strict=True)):
        main = run.target.find_main_output(means)[place]
        heading = f"{name}: {run.target.decide(means)[place]}, {means[place, main]:.3f}"
        names.append(make_file_name(name))
        maps = _attention(ensemble, predicted, place)
        write_panel(folder / names[-1], images[row - start], maps, heading)
    return names


def _attention(ensemble: Ensemble, predicted: PredictedShard, place: int) -> dict[str, Map]:
    """Level -> (h, w) of one readable sample."""
    device = next(ensemble.buffers()).device
    own = {k: values[place : place + 1].to(device) for k, values in predicted.pooled.items()}
    return {level: maps[0].numpy() for level, maps in ensemble.average_attention(own).items()}


def make_file_name(sample_id: str) -> str:
    """A file name for any sample id: the id's plain letters, and a hash of the id."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", sample_id)[-_LONGEST:].strip("._-")
    digest = hashlib.sha256(sample_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain or 'image'}-{digest}.png"
