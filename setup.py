"""The part of the metadata that setup.cfg cannot hold: README as a package index shows it."""

import re
from pathlib import Path

from setuptools import setup

_IMAGE = r"!\[[^]]*\]\((?!https?:)[^)]*\)\n*"
_LINK = r"\[([^]]*)\]\((?!https?:)[^)]*\)"
_PAGES = (
    "The source distribution holds the pages that this text names, in `docs/` and `benchmarks/`."
)


def read_description() -> str:
    """README without links and images that lead into the repository: an index has no such files."""
    text = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
    return re.sub(_LINK, r"\1", re.sub(_IMAGE, "", text)) + f"\n{_PAGES}\n"


setup(
    script_name="setup.py",  # else this file would be a module of the package, whose root is here
    long_description=read_description(),
    long_description_content_type="text/markdown",
)
