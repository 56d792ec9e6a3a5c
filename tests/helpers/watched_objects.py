"""Objects in memory that let a writer die or sleep before any step, for tests of what survives."""

from collections.abc import Callable, Iterable

from samcache.cache.errors import StoreError
from samcache.cache.objects.base import Objects, Part, fill_buffers

Memory = dict[str, bytes]  # key -> object


class Died(BaseException):
    """A process is gone."""


def die() -> None:
    raise Died


class Watched(Objects):
    """What one writer sees of a store in memory; ``hook`` runs before its n-th step, from 1."""

    name = "memory"

    def __init__(
        self, memory: Memory, step: int = 0, hook: Callable[[], None] = lambda: None
    ) -> None:
        self._memory = memory
        self.steps, self._step, self._hook = 0, step, hook

    def _count(self) -> None:
        self.steps += 1
        if self.steps == self._step:
            self._hook()

    def create(self, key: str, data: bytes) -> bool:
        self._count()
        return self._memory.setdefault(key, bytes(data)) == data

    def put(self, key: str, data: bytes) -> None:
        self._count()
        self._memory[key] = bytes(data)

    def delete(self, keys: Iterable[str]) -> None:
        self._count()
        for key in keys:
            self._memory.pop(key, None)

    def find_size(self, key: str) -> int | None:
        self._count()
        data = self._memory.get(key)
        return None if data is None else len(data)

    def get(self, key: str, largest: int | None = None) -> bytes:
        if key not in self._memory:
            raise FileNotFoundError(key)
        self.check_size(key, len(self._memory[key]), largest)
        return self._memory[key]

    def read_into(self, key: str, buffers: list[memoryview]) -> None:
        data = self.get(key)
        if len(data) != sum(map(len, buffers)):
            raise ValueError(f"it has {len(data)} bytes")
        fill_buffers(memoryview(data), buffers)

    def read_parts_into(self, key: str, parts: list[Part]) -> None:
        data = memoryview(self.get(key))
        for offset, buffers in parts:
            if offset + sum(map(len, buffers)) > len(data):
                raise ValueError("ends too early")
            fill_buffers(data[offset:], buffers)

    def list_objects(self, prefix: str) -> dict[str, int]:
        return {
            key: len(data)
            for key, data in list(self._memory.items())
            if not prefix or key.startswith(f"{prefix}/")
        }

    def list_children(self, prefix: str) -> tuple[list[str], list[str]]:
        begin = f"{prefix}/" if prefix else ""
        rest = [key.removeprefix(begin).partition("/") for key in self.list_objects(prefix)]
        folders = {f"{begin}{head}" for head, slash, _ in rest if slash}
        return sorted(folders), sorted(f"{begin}{head}" for head, slash, _ in rest if not slash)


class Breaking(Watched):
    """Takes so many writes, claims among them; every other write is cut off."""

    def __init__(self, memory: Memory, writes: int) -> None:
        super().__init__(memory)
        self._left = writes

    def create(self, key: str, data: bytes) -> bool:
        self._take_one()
        return super().create(key, data)

    def put(self, key: str, data: bytes) -> None:
        self._take_one()
        super().put(key, data)

    def _take_one(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise StoreError("cut off")
