"""``samcache completion``: complete commands, options and choices with the tab key."""

from __future__ import annotations

import click

SHELLS = click.Choice(["bash", "zsh", "fish"])


@click.command()
@click.argument("shell", type=SHELLS)
def completion(shell: str) -> None:
    """Print the script that completes samcache commands in SHELL.

    \b
    Run once; new terminals then complete commands and options:
      bash   samcache completion bash >> ~/.bashrc
      zsh    samcache completion zsh >> ~/.zshrc
      fish   samcache completion fish > ~/.config/fish/completions/samcache.fish

    \b
    Examples:
      samcache completion bash
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"click has no completion for {shell}: update click")
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "samcache", "_SAMCACHE_COMPLETE").source())
