"""Cached features of a frozen Segment Anything encoder, for your own training loops.

    import samcache

    store = samcache.open("team.zarr")
    dataset = store.dataset("train", levels=("neck",))
    table = samcache.load_run("runs/slca").predict(["scan.png"])

Each name is imported when it is first used, so that ``import samcache`` loads no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samcache.api.dataset import FeatureDataset as FeatureDataset
    from samcache.api.dataset import collate_items as collate_items
    from samcache.api.run import Run as Run
    from samcache.api.run import load_run as load_run
    from samcache.api.store import FeatureArray as FeatureArray
    from samcache.api.store import Store as Store
    from samcache.api.store import open_store as open
    from samcache.cache.errors import SamcacheError as SamcacheError
    from samcache.extract.encoders.networks.own_encoder import OwnEncoder as OwnEncoder
    from samcache.train.model.backbones import build_backbone as build_backbone
    from samcache.train.model.classifier import Classifier as Classifier
    from samcache.train.model.classifier import Design as Design
    from samcache.train.model.slca import SLCA as SLCA

    __version__: str

_MODULES = {
    "Classifier": "train.model.classifier",
    "Design": "train.model.classifier",
    "FeatureArray": "api.store",
    "FeatureDataset": "api.dataset",
    "OwnEncoder": "extract.encoders.networks.own_encoder",
    "Run": "api.run",
    "SLCA": "train.model.slca",
    "SamcacheError": "cache.errors",
    "Store": "api.store",
    "build_backbone": "train.model.backbones",
    "collate_items": "api.dataset",
    "load_run": "api.run",
    "open": "api.store",
}
_OTHER_NAMES = {"open": "open_store"}

__all__ = [
    "SLCA",
    "Classifier",
    "Design",
    "FeatureArray",
    "FeatureDataset",
    "OwnEncoder",
    "Run",
    "SamcacheError",
    "Store",
    "__version__",
    "build_backbone",
    "collate_items",
    "load_run",
    "open",
]

if not TYPE_CHECKING:  # a type checker should report unknown names

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version

            value = version("samcache")
        elif name in _MODULES:
            module = importlib.import_module(f"samcache.{_MODULES[name]}")
            value = getattr(module, _OTHER_NAMES.get(name, name))
        else:
            raise AttributeError(f"module 'samcache' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
