"""``samcache encoders``: list the encoders that extract can run.

Heavy imports are inside the function, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from samcache.commands.encoder_options import EncoderName
from samcache.commands.options import At, as_json_option, option
from samcache.commands.show.tables import print_parts


@click.command()
@click.argument("names", nargs=-1, type=EncoderName(), metavar="[NAME]...")
@option("--image-size", type=At(16), help="Side of the input.  [default: each encoder's own]")
@option(
    "--pool",
    type=At(1),
    help="Average maps over P x P cells.  [default: 4, or the largest below that divides all maps]",
)
@as_json_option
def encoders(
    names: tuple[str, ...], image_size: int | None, pool: int | None, as_json: bool
) -> None:
    """List the encoders: parameters, input size, levels, bytes an image, official file.

    With NAME, lists only these, which may also be timm:MODEL or your own encoder. Encoders that
    installed packages register are named, and imported only if NAME asks for them.

    \b
    samcache encoders
    samcache encoders vit_b sam2_t --image-size 512
    samcache encoders timm:vit_small_patch14_dinov2 lab.encoders:Tiny
    """
    from samcache.commands.show.encoders import describe_encoders
    from samcache.extract.encoders.facts import find_facts
    from samcache.extract.encoders.registry import ENCODERS, find_architecture, list_registered

    facts = [find_facts(find_architecture(name), image_size, pool) for name in names or ENCODERS]
    registered = {} if names else list_registered()
    if as_json:
        found = {"encoders": [asdict(each) for each in facts], "registered": registered}
        click.echo(json.dumps(found, indent=2))
    else:
        print_parts(describe_encoders(facts, registered))
