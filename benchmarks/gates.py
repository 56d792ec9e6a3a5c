"""How far a trained run's gates depend on the image and the place: standard deviations on test.

    python benchmarks/gates.py STORE RUN

Gates that are the same everywhere are constants that the backbone could learn by itself.
"""

import sys
from pathlib import Path

import torch

from samcache.cache.store import Store
from samcache.train.predict import predict_store
from samcache.train.runs.ensemble import load_ensemble, open_predictor


def main() -> None:
    """Print one line a level for the run's first member."""
    store, run = Store(sys.argv[1]), open_predictor(Path(sys.argv[2]))
    ensemble = load_ensemble(run, member=run.members[0])
    (member,) = ensemble.members
    tested = store.samples[store.samples["split"] == "test"]
    shards = [part.pooled for part in predict_store(run, ensemble, store, tested) if part.pooled]
    maps = {level: torch.cat([pooled[level] for pooled in shards]) for level in run.inputs}
    print("level    mean   sd over images   sd over places")
    for level, pooled in member.standardised(maps).items():
        with torch.no_grad():
            gates = member.classifier.attention[level].compute_attention(pooled)  # B, C, h, w
        images = gates.mean(dim=(2, 3)).std(dim=0).mean()
        places = gates.std(dim=(2, 3)).mean()
        print(f"{level:<9}{gates.mean():.3f}  {images:<17.3f}{places:.3f}")


if __name__ == "__main__":
    main()
