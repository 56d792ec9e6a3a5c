"""samcache beside other software, each part by one command.

    python benchmarks/peers/run.py store --store STORE.zarr --repeats 5 --s3 1
    python benchmarks/peers/run.py encoder --repeats 5
    python benchmarks/peers/run.py two_stage --npz breastmnist.npz --checkpoint mobile_sam.pt
    python benchmarks/peers/run.py faults
    python benchmarks/peers/run.py page

The first call makes an environment of its own in ``--work`` and installs the others there from PyPI
(requirements.txt); nothing of theirs is in the repository. Every part goes on where it was
interrupted, ``--again`` starts it anew; ``--help`` after a part shows its options. Results go to
results/, and the page benchmarks/peers.md is made of them after each part.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PARTS = ("store", "encoder", "two_stage", "faults", "page")


def main() -> None:
    """Make the environment, run a part in it, write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=sys.argv[1:2] in (["-h"], ["--help"]),  # behind a part it is the part's
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument(
        "--work",
        type=Path,
        default=ROOT / "build" / "peers",
        help="environment and what is written",
    )
    parser.add_argument(
        "--packages",
        type=Path,
        help="site-packages to share with that environment, such as torch's",
    )
    options, rest = parser.parse_known_args()
    if options.part != "page":
        python = environment(options.work.resolve(), options.packages)
        if options.part != "encoder":
            rest += ["--work", str(options.work.resolve() / "written")]
        subprocess.run([python, str(HERE / f"{options.part}.py"), *rest], check=True)
    subprocess.run([sys.executable, str(HERE / "page.py")], check=True)


def environment(work: Path, packages: Path | None) -> str:
    """The Python of the peers' environment, made where it is missing."""
    folder = work / "venv"
    python, ready = folder / "bin" / "python", folder / "ready"
    if ready.exists():
        return str(python)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    if packages:
        (library,) = folder.glob("lib/python*/site-packages")
        (library / "shared.pth").write_text(f"{packages.resolve()}\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    pinned = ["--constraint", str(ROOT / "constraints.txt")]
    needed = ["--requirement", str(HERE / "requirements.txt"), "--editable", str(ROOT)]
    subprocess.run([*pip, *pinned, *needed], check=True, env={**os.environ, "PIP_NO_INPUT": "1"})
    ready.touch()
    return str(python)


if __name__ == "__main__":
    main()
