"""Which row of a table each sample gets, and what is refused."""

from pathlib import Path

import pandas as pd
import pytest

from samcache.cache.errors import ConfigError
from samcache.train.tasks.join import Join, join_samples
from samcache.train.tasks.label_table import open_label_table

SAMPLES = pd.DataFrame(
    {
        "id": ["train/a.png", "train/b.png", "test/c.png"],
        "group": ["p1", "p1", "p2"],
        "sha256": ["0a", "0b", "0c"],
    }
)


def join(tmp_path: Path, text: str, key: str | None = None, used: tuple[str, ...] = ("y",)) -> Join:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return join_samples(SAMPLES, open_label_table(path, key), used)


@pytest.mark.parametrize(
    ("text", "key", "how"),
    [
        ("id,y\ntrain/a.png,1\ntest/c.png,0\n", None, "id (column 'id')"),
        ("file,y\ntrain/a,1\ntest/c,0\n", None, "id (column 'file', without suffix)"),
        ("Image Index,y\na.png,1\nc.png,0\n", None, "id (column 'Image Index', without folder)"),
        ("isic_id,y\na,1\nc,0\n", None, "id (column 'isic_id', without folder and suffix)"),
        ("scan,y\nc:\\old\\a.png,1\nc.png,0\n", "scan", "id (column 'scan', without folder)"),
        ("sha256,y\n0a,1\n0c,0\n", None, "sha256 (column 'sha256')"),
    ],
)
def test_a_sample_gets_the_row_that_names_it(
    tmp_path: Path, text: str, key: str | None, how: str
) -> None:
    found = join(tmp_path, text, key)
    assert found.take("y", "target").tolist() == ["1", "", "0"]
    assert found.describe() == f"2 of 3 images matched by {how}, 1 without a row"


def test_a_case_gives_its_row_to_all_its_images(tmp_path: Path) -> None:
    found = join(tmp_path, "patient_id,y\np1,5\np9,6\n", "case")
    assert found.take("y", "target").tolist() == ["5", "5", ""]
    assert found.describe().endswith("1 without a row, 1 row of other images")
    found = join(tmp_path, "who,y\np1,5\np2,6\n", "case=who")
    assert found.take("y", "target").tolist() == ["5", "5", "6"]


def test_rows_that_agree_count_once_and_rows_that_disagree_are_refused(tmp_path: Path) -> None:
    twice = "id,y,note\ntrain/a.png,1,x\ntrain/a.png,1,y\n"
    assert "1 repeated row that agree" in join(tmp_path, twice).describe()
    with pytest.raises(ConfigError, match=r"lines 2 and 3 disagree .* note is 'x' and 'y'"):
        join(tmp_path, twice, used=("y", "note"))


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("id,y\nz.png,1\n", None, r"no row .* begins 'z.png', the store 'train/a.png'"),
        ("case,y\nq,1\n", None, r"begins 'q', the store 'p1', 'p2': use another key"),
        ("who,y\na,1\n", None, "no column that names images, such as id or file: it has who, y"),
        ("who,y\na,1\n", "id=nobody", "no column 'nobody'"),
        ("id,y\n,1\n", None, "line 2: column 'id' is empty"),
    ],
)
def test_a_table_that_names_no_sample_is_refused(
    tmp_path: Path, text: str, key: str | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        join(tmp_path, text, key)


def test_a_name_that_two_samples_could_have_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,y\na.png,1\n")
    both = pd.DataFrame({"id": ["x/a.png", "y/a.png"], "group": "", "sha256": ""})
    with pytest.raises(ConfigError, match=r"could be 'x/a\.png' or 'y/a\.png'"):
        join_samples(both, open_label_table(path, None), ("y",))


def test_a_store_that_knows_no_case_says_so(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("case,y\np1,1\n")
    plain = SAMPLES.assign(group="")
    with pytest.raises(ConfigError, match="the store knows no case of its 3 images"):
        join_samples(plain, open_label_table(path, None), ("y",))


def test_rows_of_other_images_may_disagree(tmp_path: Path) -> None:
    text = "id,y\na.png,1\nc.png,0\nold/z.png,1\nnew/z.png,0\n"
    found = join(tmp_path, text)
    assert found.take("y", "target").tolist() == ["1", "", "0"]
    assert found.describe().endswith("2 rows of other images")


def test_numbers_of_a_uid_are_no_suffix(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,y\n1.2.840.1,1\n1.2.840.2,0\n")
    uids = pd.DataFrame({"id": ["1.2.840.1.dcm", "1.2.840.2.dcm"], "group": "", "sha256": ""})
    found = join_samples(uids, open_label_table(path, None), ("y",))
    assert found.take("y", "target").tolist() == ["1", "0"]
