"""Objects in memory that let a writer die or sleep before any step, for tests of what survives."""

from collections.abc import Callable, Iterable

from obstore.store import MemoryStore

from samcache.cache.objects.bucket import BucketObjects


class Died(BaseException):
    """A process is gone."""


def die() -> None:
    raise Died


class Watched(BucketObjects):
    """What one writer sees of a store in memory; ``hook`` runs before its n-th step, from 1."""

    _exclusive = True

    def __init__(
        self, memory: MemoryStore, step: int = 0, hook: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(memory, "memory")
        self.steps, self._step, self._hook = 0, step, hook

    def _count(self) -> None:
        self.steps += 1
        if self.steps == self._step:
            self._hook()

    def create(self, key: str, data: bytes) -> bool:
        self._count()
        return super().create(key, data)

    def put(self, key: str, data: bytes) -> None:
        self._count()
        super().put(key, data)

    def delete(self, keys: Iterable[str]) -> None:
        self._count()
        super().delete(keys)

    def size(self, key: str) -> int | None:
        self._count()
        return super().size(key)
