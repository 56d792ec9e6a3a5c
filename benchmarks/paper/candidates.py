"""The settings that cross-validation chooses from, as fields of TrainConfig.

As many for the backbone alone as for SLCA, so that the one is tuned as hard as the other. The
controls of SLCA are trained with SLCA's setting.
"""

from typing import Any

Fields = dict[str, Any]

SHARED: Fields = {"backbone": "resnet18", "image_size": 64}

CANDIDATES: dict[str, dict[str, Fields]] = {  # arm -> name -> what differs from the defaults
    "none": {
        "plain": {"epochs": 30},
        "long": {"epochs": 60},
        "slow": {"epochs": 60, "lr": 3e-4, "weight_decay": 0.2},
        "mixed": {"epochs": 60, "mixup": 0.2, "label_smoothing": 0.1},
    },
    "slca": {
        "plain": {"epochs": 30},
        "long": {"epochs": 60},
        "residual": {"epochs": 60, "fusion": "residual", "kernel": 8},
        "mixed": {"epochs": 60, "mixup": 0.2, "label_smoothing": 0.1},
    },
}
