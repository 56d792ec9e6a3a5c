"""What an extraction did, in the words of the terminal."""

from dataclasses import dataclass

from samcache.cache.duplicates import Duplicates, find_duplicates
from samcache.cache.store import Store


@dataclass(frozen=True)
class ExtractSummary:
    """What a run did, and what the store holds after it."""

    samples: int  # in the store
    missing: int  # of them not committed, since they are other workers'
    encoded: int  # in this run
    unreadable: dict[str, str]  # sample id -> reason, in the whole store
    seconds: float  # spent in encoding and writing
    fingerprint: str
    duplicates: list[Duplicates]
    classes: tuple[str, ...]
    changes: list[str]  # of the source since it was stored, a line each

    def text(self) -> str:
        """A few lines for the terminal: what was done, and which images could not be read."""
        rate = f", {self.encoded / self.seconds:.1f} images/s" if self.encoded else ""
        lines = [
            f"{self.samples} images in the store, {self.encoded} encoded in this run "
            f"({self.seconds:.1f} s{rate}), fingerprint {self.fingerprint[:12]}",
            *self.changes,
        ]
        if self.missing:
            lines.append(f"{self.missing} images are not committed yet")
        if self.unreadable:
            lines.append(f"{len(self.unreadable)} unreadable, recorded in the store:")
            lines += [f"  {name}: {reason}" for name, reason in self.unreadable.items()]
        leaks = [same for same in self.duplicates if same.leaks]
        if leaks:
            lines.append(f"{len(leaks)} images stand in more than one split:")
            lines += [f"  {same.text(self.classes)}" for same in leaks]
        if len(self.duplicates) > len(leaks):
            lines.append(f"{len(self.duplicates) - len(leaks)} images repeat within a split")
        return "\n".join(lines)


def summarise(store: Store, encoded: int, seconds: float, changes: list[str]) -> ExtractSummary:
    """The summary of a run, from the store as it now stands."""
    failed = store.samples[store.samples["status"] == "unreadable"]
    return ExtractSummary(
        len(store.samples),
        int((store.samples["status"] == "missing").sum()),
        encoded,
        dict(zip(failed["id"], failed["reason"], strict=True)),
        seconds,
        store.fingerprint,
        find_duplicates(store.samples),
        store.dataset.classes,
        changes,
    )
