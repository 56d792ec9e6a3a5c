"""The settings that cross-validation chooses from, as fields of TrainConfig.

As many for the backbone alone as for SLCA, so that the one is tuned as hard as the other. The
controls of SLCA are trained with SLCA's setting.
"""

from typing import Any

Fields = dict[str, Any]

SHARED: Fields = {"backbone": "resnet18", "image_size": 64, "epochs": 15}
_MIXED: Fields = {"keep": "last", "mixup": 0.2, "label_smoothing": 0.1}
_JOINED: Fields = {"kernel": 16, "join": True}  # on 64 px images, finer gates are averaged again

CANDIDATES: dict[str, dict[str, Fields]] = {  # arm -> name -> what differs from the defaults
    "none": {
        "plain": {"keep": "last", "augment": False},
        "best epoch": {"augment": False},
        "augmented": {"keep": "last"},
        "mixed": _MIXED,
    },
    "slca": {
        "gates": {"kernel": 16, "keep": "last", "augment": False},
        "joined": {**_JOINED, "keep": "last", "augment": False},
        "joined, residual": {**_JOINED, "keep": "last", "augment": False, "fusion": "residual"},
        "joined, mixed": {**_JOINED, **_MIXED},
    },
}
