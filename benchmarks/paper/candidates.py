"""The settings that cross-validation chooses from, as fields of TrainConfig.

As many for the backbone alone as for SLCA, so that the one is tuned as hard as the other. The
controls of SLCA are trained with SLCA's setting.
"""

from typing import Any

Fields = dict[str, Any]

SHARED: Fields = {"backbone": "resnet18", "epochs": 20}
_LAST: Fields = {"keep": "last"}
_PLAIN: Fields = {**_LAST, "augment": False}
_MIXED: Fields = {**_LAST, "mixup": 0.4}
_JOINED: Fields = {"join": True}

CANDIDATES: dict[str, dict[str, Fields]] = {  # arm -> name -> what differs from the defaults
    "none": {
        "plain": _PLAIN,
        "best epoch": {"augment": False},
        "augmented": _LAST,
        "mixed": _MIXED,
    },
    "slca": {
        "plain": {**_JOINED, **_PLAIN},
        "residual": {**_JOINED, **_PLAIN, "fusion": "residual"},
        "augmented": {**_JOINED, **_LAST},
        "mixed": {**_JOINED, **_MIXED},
    },
}
