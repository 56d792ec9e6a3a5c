"""Name the option or the command that helps, and suggest those that were probably meant."""

from __future__ import annotations

import difflib

import click

from samcache.cache.errors import SamcacheError

# The option of an error's hint, where its name differs from the parameter's.
_OPTIONS_OF_HINTS = {
    "images_key": "--x",
    "labels_key": "--y",
    "prefixes": "--prefix",
}
# Option names of other tools, each with those of samcache; the first that the command has.
_OPTIONS = {
    "--arch": ("--backbone", "--encoder"),
    "--architecture": ("--backbone", "--encoder"),
    "--batch": ("--batch-size",),
    "--bs": ("--batch-size",),
    "--ckpt": ("--checkpoint",),
    "--column": ("--label-column",),
    "--cpu": ("--device",),
    "--cuda": ("--device",),
    "--cv": ("--folds",),
    "--dataset": ("--source",),
    "--dry-run": ("--plan",),
    "--epoch": ("--epochs",),
    "--fold": ("--folds",),
    "--force": ("--overwrite",),
    "--fp16": ("--precision",),
    "--gpu": ("--device",),
    "--gpus": ("--device",),
    "--group": ("--group-column",),
    "--heatmaps": ("--heatmap",),
    "--img-size": ("--image-size",),
    "--images": ("--root", "--source"),
    "--label": ("--label-column",),
    "--learning-rate": ("--lr",),
    "--model": ("--backbone", "--encoder"),
    "--network": ("--backbone", "--encoder"),
    "--out-dir": ("--out",),
    "--output": ("--out", "--store"),
    "--output-dir": ("--out", "--store"),
    "--patient": ("--group-column",),
    "--seed": ("--seeds",),
    "--size": ("--image-size",),
    "--wd": ("--weight-decay",),
    "--weights": ("--checkpoint", "--pretrained"),
    "-o": ("--out", "--store"),
}
_COMMANDS = {
    "encode": "extract",
    "fit": "train",
    "import": "cache import",
    "infer": "predict",
    "list": "cache ls",
    "optimize": "sweep",
    "show": "cache info",
    "test": "evaluate",
    "tune": "sweep",
    "validate": "evaluate",
}


def explain_error(error: SamcacheError) -> str:
    """The error in one line, with the options that its hint stands for, such as "… (--pool)"."""
    return add_options(" ".join(str(error).split()), error.hint)


def add_options(text: str, hint: str) -> str:
    """A text with the options that a hint stands for, such as "… (--pool)".

    Parameters between spaces are alternatives; those joined by "+" are used together.
    """
    names = (" and ".join(map(_name_option, each.split("+"))) for each in hint.split())
    return f"{text} ({' or '.join(names)})" if hint else text


def _name_option(parameter: str) -> str:
    return _OPTIONS_OF_HINTS.get(parameter, "--" + parameter.replace("_", "-"))


def explain_option(error: click.NoSuchOption) -> click.UsageError:
    """Make the error for an unknown option, with the nearest option of the command."""
    command = error.ctx.command if error.ctx else None
    there = [name for each in command.params for name in each.opts] if command else []
    asked = error.option_name
    meant = [name for name in _OPTIONS.get(asked, ()) if name in there][:1]
    meant = meant or difflib.get_close_matches(asked, there, n=1, cutoff=0.7)
    advice = f"did you mean {meant[0]}?" if meant else "--help lists the options"
    return click.UsageError(f"no option {asked}: {advice}", error.ctx)


def explain_command(name: str, group: click.Group, ctx: click.Context) -> click.UsageError:
    """Make the error for an unknown command, with the nearest command."""
    words = {word: word for word in group.commands}
    if ctx.parent is None:  # a command of a group may be given without its group
        for word, below in group.commands.items():
            if isinstance(below, click.Group):
                words = {**{one: f"{word} {one}" for one in below.commands}, **words}
        words |= {word: meant for word, meant in _COMMANDS.items() if word not in group.commands}
    near = [name] if name in words else difflib.get_close_matches(name, words, n=1)
    program = ctx.command_path
    advice = f"did you mean {program} {words[near[0]]}?" if near else f"{program} --help lists them"
    return click.UsageError(f"no command {name!r}: {advice}", ctx)
