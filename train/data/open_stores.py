"""Open the stores of a training: copies of remote stores, several stores joined."""

from samcache.cache.care.stage import stage_store
from samcache.cache.errors import ConfigError
from samcache.cache.progress import OnProgress, OnRemark, Remark
from samcache.cache.store import Store
from samcache.train.config import TrainConfig
from samcache.train.data.joined_store import JoinedStore, name_stores
from samcache.train.tasks.options import TaskOptions


def open_stores(config: TrainConfig, on_remark: OnRemark, on_copy: OnProgress) -> Store:
    """The store of a training, or its stores joined, a store at a URL as its copy on the disk.

    Raises ConfigError where stores cannot be joined, StoreError as ``stage_store``.
    """
    if not config.more_stores:
        return stage_store(Store(config.store), on_remark, on_copy)
    locations = (config.store, *config.more_stores)
    names = name_stores(locations)
    stores = [stage_store(Store(location), on_remark, on_copy) for location in locations]
    for name, store in zip(names, stores, strict=True):
        if store.identity.views != stores[0].identity.views:
            raise ConfigError(
                f"{names[0]} and {name} hold other views ({', '.join(stores[0].identity.views)}; "
                f"{', '.join(store.identity.views)}): extract both with the same"
            )
    joined = JoinedStore(names, stores)
    refuse_other_answers(joined, config.task, in_folds=config.folds is not None)
    on_remark(Remark(joined.describe_join()))
    return joined


def refuse_other_answers(store: Store, task: TaskOptions, in_folds: bool = False) -> None:
    """Raise ConfigError where joined stores disagree on what no table gives."""
    if isinstance(store, JoinedStore):
        of_table = task.splits is not None or task.split_column is not None
        in_folds = in_folds or task.folds_by is not None
        store.check_agreement(labels=task.labels is None, splits=not (of_table or in_folds))
