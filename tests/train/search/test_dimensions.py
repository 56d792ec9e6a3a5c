"""What may be searched, and how it is said, is checked before anything is loaded."""

import pytest

from samcache.cache.errors import ConfigError
from samcache.train.config import TrainConfig
from samcache.train.search.dimensions import SEARCHABLE, parse_search


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speed=1..2", "should begin with one of backbone, stem, taps"),
        ("lr", r"should be lr=a\|b\|c, each value once, or lr=low..high"),
        ("lr=1..1", "or lr=low..high"),
        ("lr=fast", "or lr=low..high"),
        ("lr=-1..1", "with values that train takes"),
        ("reduction=0|4", "with values that train takes"),
        ("fusion=gate|sum", r"should be fusion=gate\|residual, each value once"),
        ("join=yes|no", r"should be join=true\|false, each value once"),
        ("kernel=2..8", r"should be kernel=a\|b\|c, each value once, with"),
        ("fusion=gate|gate", "each value once"),
    ],
)
def test_a_search_that_says_nothing_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_search((text,))


def test_flags_are_searched_by_true_and_false() -> None:
    (dimension,) = parse_search(("join=true|false",))
    assert dimension.values == (True, False)
    assert dimension.record(False) == "false"


def test_what_can_be_searched_is_an_option_of_training() -> None:
    assert set(SEARCHABLE) <= set(TrainConfig.__dataclass_fields__)
