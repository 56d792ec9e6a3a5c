"""How far stored features are from float32's, as measured when the store was made."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class LevelPrecision:
    """One level of a probe set, as stored against float32 arithmetic pooled in float32.

    Of each image's map, (C, h, w): the cosine similarity to the reference, as mean and least of
    the images; and the greatest difference over the reference's greatest value, as the largest of
    the images.
    """

    cosine_mean: float
    cosine_min: float
    max_relative_error: float


@dataclass(frozen=True)
class Precision:
    """The probe set's size, the device it was encoded on, and each level's figures."""

    images: int
    device: str
    levels: dict[str, LevelPrecision]

    def to_json(self) -> dict[str, Any]:
        """As the root record has it: figures as decimal text, since records hold no fractions."""
        levels = {
            level: {name: repr(value) for name, value in asdict(figures).items()}
            for level, figures in self.levels.items()
        }
        return {"images": self.images, "device": self.device, "levels": levels}

    @classmethod
    def from_provenance(cls, provenance: dict[str, Any]) -> "Precision | None":
        """The contract in a store's provenance; None where it is missing or cannot be read."""
        try:
            found = provenance["precision"]
            levels = {
                str(level): LevelPrecision(**{name: float(text) for name, text in figures.items()})
                for level, figures in found["levels"].items()
            }
            return cls(int(found["images"]), str(found["device"]), levels)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            return None

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Level, mean and least cosine, and error of each level, for a table."""
        return [
            (
                level,
                f"{figures.cosine_mean:.8f}",
                f"{figures.cosine_min:.8f}",
                f"{figures.max_relative_error:.1e}",
            )
            for level, figures in self.levels.items()
        ]
