"""Manifests in any encoding and delimiter that is certain; the cause is named where none is."""

import codecs
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from image_files import draw

from samcache.cache.errors import ImageError, SourceError
from samcache.cache.files.text_table import read_table
from samcache.extract.sources.inputs import open_inputs
from samcache.extract.sources.open import open_source
from samcache.extract.sources.options import SourceOptions

READING = SourceOptions()
TEXT = 'file,class,note\r\n"a, b/1.png",Müll,\r\n\r\nc.png,x;y|z,"1,5"\r\n'


def delimited(delimiter: str) -> str:
    rows = [["file", "class", "note"], ["a, b/1.png", "Müll", ""], ["c.png", "x;y|z", "1,5"]]
    first, *rest = (delimiter.join(f'"{field}"' for field in row) for row in rows)
    return "\n".join([first, rest[0], "", rest[1]])


CERTAIN: dict[str, bytes] = {
    "comma": TEXT.encode(),
    "a carriage return alone": TEXT.replace("\r\n", "\r").encode(),
    "semicolon": delimited(";").encode(),
    "tab": delimited("\t").encode(),
    "bar": delimited("|").encode(),
    "named by Excel": b"sep=;\n" + delimited(";").encode(),
    "UTF-8 with a mark": codecs.BOM_UTF8 + TEXT.encode(),
    "UTF-16 with a mark": TEXT.encode("utf-16"),
    "UTF-16, big end first": codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    "UTF-16 without a mark": TEXT.encode("utf-16-le"),
    "UTF-16 without a mark, big end first": delimited("\t").encode("utf-16-be"),
    "UTF-32 with a mark": TEXT.encode("utf-32"),
}


@pytest.mark.parametrize("kind", CERTAIN)
def test_every_certain_way_of_writing_gives_the_same_table(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(CERTAIN[kind])
    found = read_table(path)
    expected = {
        "file": ["a, b/1.png", "c.png"], "class": ["Müll", "x;y|z"], "note": ["", "1,5"],
    }  # fmt: skip
    first = 3 if kind == "named by Excel" else 2
    pd.testing.assert_frame_equal(found, pd.DataFrame(expected, index=[first, first + 2]))
    assert open_source(path, READING).classes == ("Müll", "x;y|z")
    [given] = open_inputs([str(path)], READING, hash_ids=False)
    assert given.samples["id"].tolist() == expected["file"]


def test_a_single_column_may_have_any_name_in_it(tmp_path: Path) -> None:
    path = tmp_path / "list.tsv"
    path.write_text("file\na;b|c.png\n")
    [given] = open_inputs([str(path)], READING, hash_ids=False)
    assert given.samples["id"].tolist() == ["a;b|c.png"]


REFUSED: dict[str, tuple[str, bytes, str]] = {
    "latin-1": (
        "a.csv", "file,class\nb.png,x\né.png,y\n".encode("latin-1"),
        r"line 3 is not UTF-8 \(byte 0xe9\) but another encoding, such as Latin-1.*save it as",
    ),
    "utf-16, cut": ("a.csv", "file,class\n".encode("utf-16") + b"\x00", "UTF-16-LE to its end"),
    "no text": ("a.csv", b"f\0ile,class\n", "is not text"),
    "xlsx": ("a.xlsx", b"PK\3\4...", r"is a spreadsheet.*save it as CSV \(in Excel: CSV UTF-8"),
    "ods": ("a.ods", b"PK\3\4...", "is a spreadsheet.*save it as CSV"),
    "xls": ("a.xls", b"\xd0\xcf\x11\xe0...", "is a spreadsheet.*save it as CSV"),
    "xlsx, renamed": ("a.csv", b"PK\3\4...", "is a spreadsheet or another ZIP file.*save it as"),
    "xls, renamed": ("a.csv", b"\xd0\xcf\x11\xe0...", r"is a spreadsheet \(.xls\).*save it as"),
    "gzip": ("a.csv", b"\x1f\x8b...", "compressed with gzip: unpack it"),
    "Parquet, renamed": ("a.csv", b"PAR1....", "rename it to .parquet"),
    "web page": ("a.csv", b"<!DOCTYPE html><p>", "is a web page"),
    "pointer": ("a.csv", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "quote left open": (
        "a.csv", b'file;class\na.png;x\n"b.png;y\n',
        "the quotes of the row that begins in line 3 do not match",
    ),
    "other columns": ("a.csv", b"path;label\na;b\n", "a column 'file', found path, label"),
    "a longer row": ("a.csv", b"file;class\na;b;c\n", "quote text that has ';' in it"),
}  # fmt: skip


def open_to_predict(path: Path, reading: SourceOptions) -> object:
    return open_inputs([str(path)], reading, hash_ids=False)


@pytest.mark.parametrize("opened", [open_source, open_to_predict])
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_certain_is_refused_with_its_cause(
    kind: str, opened: Callable[[Path, SourceOptions], object], tmp_path: Path
) -> None:
    name, data, message = REFUSED[kind]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(SourceError, match=message):
        opened(path, READING)


COMPOSED = unicodedata.normalize("NFC", "é.png")
NEAR: dict[str, tuple[str, str, str]] = {  # listed, there, what is told
    "Unicode form": (COMPOSED, unicodedata.normalize("NFD", COMPOSED), "another Unicode form"),
    "letter case": ("a.png", "A.PNG", "did you mean 'A.PNG', in another letter case"),
    "case of a folder": ("X/a.png", "x/a.png", "did you mean 'x/a.png', in another letter case"),
    "no suffix": ("v1.2/ISIC_01", "v1.2/ISIC_01.jpg", "'v1.2/ISIC_01.jpg', with another suffix"),
    "a point in the name": ("scan.12", "scan.12.png", "'scan.12.png', with another suffix"),
    "another suffix": ("a.jpeg", "a.png", "'a.png', with another suffix"),
    "far": ("b.png", "a.png", "cannot be read: No such file or directory$"),
    "a folder": ("a.png", "a/a.png", "cannot be read: No such file or directory$"),
}


@pytest.mark.parametrize("kind", NEAR)
def test_the_near_match_of_a_missing_file_is_named(kind: str, tmp_path: Path) -> None:
    listed, there, told = NEAR[kind]
    draw(tmp_path / there, 0)
    (tmp_path / "labels.csv").write_text(f"file,class\n{listed},x\n", encoding="utf-8")
    with pytest.raises(ImageError, match=told):
        open_source(tmp_path / "labels.csv", READING).read_image(0)


def test_names_outside_the_root_are_not_looked_up(tmp_path: Path) -> None:
    draw(tmp_path / "elsewhere/secret.png", 0)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/x").symlink_to("../elsewhere")
    (tmp_path / "data/labels.csv").write_text("file,class\nx/SECRET.png,x\n")
    with pytest.raises(ImageError) as error:
        open_source(tmp_path / "data/labels.csv", READING).read_image(0)
    assert "secret.png" not in str(error.value)


def test_the_near_match_of_a_missing_source_is_named(tmp_path: Path) -> None:
    (tmp_path / "Labels.csv").write_text("file,class\n")
    with pytest.raises(SourceError, match=r"did you mean 'Labels\.csv', in another letter case"):
        open_source(tmp_path / "labels.csv", READING)
