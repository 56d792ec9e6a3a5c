"""What each cached level knows by itself: logistic regression on its standardised mean.

    python benchmarks/level_signal.py STORE

The regularisation is chosen on validation AUC; test is read once for the chosen one.
"""

import sys

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from samcache.cache.store import Store
from samcache.train.data import TrainingData, load_training_data
from samcache.train.metrics import accuracy, macro_auc

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)


def main() -> None:
    """Print one line a level, and one for all levels together."""
    store = Store(sys.argv[1])
    data = load_training_data(store, store.identity.levels, store.identity.pool, 32)
    _, maps = data.inputs(torch.arange(len(data.labels)))
    means = {level: values.mean(dim=(2, 3)).numpy() for level, values in maps.items()}
    means["all"] = np.concatenate(list(means.values()), axis=1)
    print("level    val AUC   test AUC   test accuracy")
    for level, features in means.items():
        print(f"{level:<9}{'   '.join(f'{value:.3f}  ' for value in probe(data, features))}")


def probe(data: TrainingData, features: np.ndarray) -> tuple[float, float, float]:
    """Validation AUC, test AUC and test accuracy of features (n, D)."""
    labels = data.labels.numpy()
    train, val, test = (data.rows(split).numpy() for split in ("train", "val", "test"))
    scaled = (features - features[train].mean(axis=0)) / (features[train].std(axis=0) + 1e-6)
    fitted = [
        LogisticRegression(C=strength, max_iter=1000).fit(scaled[train], labels[train])
        for strength in STRENGTHS
    ]
    val_scores = [macro_auc(labels[val], model.predict_proba(scaled[val])) for model in fitted]
    chosen = fitted[int(np.argmax(val_scores))].predict_proba(scaled[test])
    return max(val_scores), macro_auc(labels[test], chosen), accuracy(labels[test], chosen)


if __name__ == "__main__":
    main()
