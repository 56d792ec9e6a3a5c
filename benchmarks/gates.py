"""How far a trained run's gates depend on the image and the place: standard deviations on test.

    python benchmarks/gates.py STORE RUN

Gates that are the same everywhere are constants that the backbone could learn by itself.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from samcache.cache.store import Store
from samcache.train.config import TrainConfig
from samcache.train.data import load_training_data
from samcache.train.loop import build_classifier

OPTIONS = ("backbone", "pretrained", "stem", "kernel", "reduction", "fusion", "image_size")


def main() -> None:
    """Print one line a level for the run's first seed."""
    store, run = Store(sys.argv[1]), Path(sys.argv[2])
    saved = json.loads((run / "config.json").read_text(encoding="utf-8"))
    config = TrainConfig(store.location, run, **{name: saved[name] for name in OPTIONS})
    taps = saved["taps"]
    data = load_training_data(store, tuple(taps), config.kernel, config.image_size)
    model = build_classifier(config, data, taps)
    model.load_state_dict(load_file(run / f"seed-{saved['seeds'][0]}.safetensors"))
    _, maps = data.inputs(data.rows("test"))
    print("level    mean   sd over images   sd over places")
    for level, pooled in maps.items():
        with torch.no_grad():
            gates = model.attention[level].attention(pooled)  # B, C, h, w
        images = gates.mean(dim=(2, 3)).std(dim=0).mean()
        places = gates.std(dim=(2, 3)).mean()
        print(f"{level:<9}{gates.mean():.3f}  {images:<17.3f}{places:.3f}")


if __name__ == "__main__":
    main()
