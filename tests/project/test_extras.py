"""The extras: each message names one that exists and that brings what is missing."""

import re
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path

import pytest
from documented_commands import ROOT, pages

from samcache.extract.doctor import (
    PURPOSES_OF_EXTRAS,
    examine_machine,
    find_extras,
    list_required_packages,
)

FOLDERS = ("api", "cache", "commands", "demo", "extract", "train")
_FOR_DEVELOPERS = {"dev", "docs"}


def texts() -> Iterator[tuple[Path, str]]:
    """Code and documentation, lines joined."""
    code = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    for path in [*code, *pages()]:
        yield path.relative_to(ROOT), path.read_text(encoding="utf-8")


def test_every_extra_that_is_named_exists() -> None:
    named = {
        (str(path), extra)
        for path, text in texts()
        for extras in re.findall(r"(?:samcache|\.)\[([a-z,]+)\]", text)
        for extra in extras.split(",")
    }
    there = set(metadata("samcache").get_all("Provides-Extra") or [])
    assert {extra for _, extra in named} - {"extra"} == there - _FOR_DEVELOPERS, named
    assert set(PURPOSES_OF_EXTRAS) == there - _FOR_DEVELOPERS


def test_a_message_names_the_extra_that_holds_what_is_missing() -> None:
    """It names a package, which is one of the extra's."""
    found = set()
    for path, text in texts():
        joined = re.sub(r'"\s*f?"', "", text) if path.suffix == ".py" else ""
        for needed, extra in re.findall(
            r"needs? ([^.`]*?): pip install 'samcache\[(\w+)\]'", joined
        ):
            found.add(extra)
            packages = {package.name for package in list_required_packages(extra)}
            assert packages & set(re.findall(r"[\w-]+", needed)), (path, needed, extra)
    assert found == set(PURPOSES_OF_EXTRAS)


def test_no_message_asks_for_a_package_by_another_way() -> None:
    for path, text in texts():
        asked = re.findall(r"pip install (?!['`.{]|-e)\S+", text)
        assert not asked, f"{path}: name the extra"


def test_doctor_lists_extras_and_a_missing_one_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samcache.extract.doctor._find_installed", lambda _: "")
    missing = dict(find_extras())
    assert missing["sweep"] == "samcache sweep: not installed; pip install 'samcache[sweep]'"
    found = {one.subject: one for one in examine_machine((), ())}
    assert all(found[f"extra {name}"].ok for name in PURPOSES_OF_EXTRAS)


def test_doctor_names_what_an_extra_has_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samcache.extract.doctor._find_installed", lambda _: "1.2")
    assert dict(find_extras())["sweep"] == "samcache sweep: filelock 1.2, optuna 1.2"
