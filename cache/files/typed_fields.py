"""What a field of an options dataclass may hold: its type, default, bounds and choices."""

import types
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import Meta


@dataclass(frozen=True)
class FieldKind:
    """A field's default, and the values that its annotation allows.

    value: the type, which is int, float, bool, str, Path or tuple. item: the type of a tuple's
    items. choices: of a Literal. bounds: of a number, as ``Annotated[int, Meta(ge=1)]`` names them.
    """

    value: type
    default: Any
    item: type = str
    choices: tuple[str, ...] = ()
    bounds: Meta = Meta()  # noqa: RUF009 - immutable

    def allows(self, number: float) -> bool:
        """Whether a number lies within the bounds."""
        low, above, high, below = (getattr(self.bounds, n) for n in ("ge", "gt", "le", "lt"))
        return (
            (low is None or number >= low)
            and (above is None or number > above)
            and (high is None or number <= high)
            and (below is None or number < below)
        )


def read_field(options: type, name: str) -> FieldKind:
    """The kind of a dataclass's field; None for "decided later" is left out of its type."""
    hint = get_type_hints(options, include_extras=True)[name]
    bounds = Meta()
    while True:
        if get_origin(hint) in (Union, types.UnionType):
            hint = next(part for part in get_args(hint) if part is not types.NoneType)
        elif hasattr(hint, "__metadata__"):
            bounds = next(meta for meta in hint.__metadata__ if isinstance(meta, Meta))
            hint = hint.__origin__
        else:
            break
    (default,) = (field.default for field in fields(options) if field.name == name)
    default = None if default is MISSING else default
    if get_origin(hint) is Literal:
        return FieldKind(str, default, choices=get_args(hint))
    if get_origin(hint) is tuple:
        return FieldKind(tuple, default, item=get_args(hint)[0])
    return FieldKind(hint, default, bounds=bounds)
