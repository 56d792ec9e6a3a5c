"""The options that name an encoder and its weights.

Heavy imports are inside functions, so that ``--help`` is fast.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from samcache.commands.options import FilePath, option
from samcache.extract.encoders.registry import (
    ENCODERS,
    TIMM,
    is_own_code,
    list_registered,
    suggest_encoder,
)

_SHOWN = 50  # timm models that the shell proposes at a time
ABOUT_ENCODERS = (
    "; ".join(
        f"{', '.join(n for n, entry in ENCODERS.items() if entry.model == model)}: {model}"
        for model in dict.fromkeys(entry.model for entry in ENCODERS.values())
    )
    + "; timm:MODEL: a model of timm; package.module:name: your own. samcache encoders lists them"
)


class EncoderName(click.ParamType[str]):
    """An encoder's name; the error for an unknown one says what it may have meant."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        name = str(value)
        if name in ENCODERS or name.startswith(TIMM) or is_own_code(name):
            return name
        asked = _keep_letters(name)
        if meant := [n for n, entry in ENCODERS.items() if asked == _keep_letters(entry.model)]:
            names = f"encoder is {meant[0]}" if len(meant) == 1 else f"encoders: {', '.join(meant)}"
            self.fail(f"{name!r} is a model: its {names}", param, ctx)
        return self.fail(f"unknown encoder {name!r}: {suggest_encoder(name)}", param, ctx)

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """The names that begin so; timm's only once ``timm:`` is there, since timm loads slowly."""
        names = [*ENCODERS, *list_registered(), TIMM]
        if incomplete.startswith(TIMM):
            from timm import list_models

            begun = incomplete.removeprefix(TIMM)
            names = [TIMM + model for model in list_models(begun + "*")[:_SHOWN]]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def given_encoder_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --checkpoint and --encoder of commands that encode as a store or a run records it.

    They become one argument ``given``, the keywords of ``GivenEncoder``.
    """

    @functools.wraps(command)
    def with_given(**options: Any) -> Any:
        given = {"checkpoint": options.pop("checkpoint"), "code": options.pop("code") or ""}
        return command(given=given, **options)

    named = option(
        "--encoder",
        "code",
        type=EncoderName(),
        metavar="package.module:name",
        help="Import this encoder of your own, if it made the features.",
    )
    weights = option(
        "--checkpoint", type=FilePath(), help="Read encoder weights.  [default: the official file]"
    )
    return weights(named(with_given))


def _keep_letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())
