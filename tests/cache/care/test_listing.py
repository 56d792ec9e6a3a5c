"""Every store under a folder or a bucket's prefix is found, and nothing else."""

import json
from io import StringIO
from pathlib import Path

import pytest
import zarr
from click.testing import CliRunner
from faulty_objects import flip
from hypothesis import given, settings
from hypothesis import strategies as st
from no_access import lock
from rich.console import Console
from store_content import content, create, full_store

from samcache.cache.care.listing import StoreRow, list_stores
from samcache.cache.commit import commit_shard
from samcache.cache.errors import StoreError
from samcache.cache.format.commit_record import make_commit_key
from samcache.cache.format.records import seal
from samcache.cache.objects.bucket import BucketObjects
from samcache.cache.store import Store
from samcache.cli import cli
from samcache.commands.show.stores import make_listing


def found(root: Path) -> list[str]:
    return [Path(row.location).relative_to(root).as_posix() for row in list_stores(root)]


def shown(rows: list[StoreRow]) -> str:
    console = Console(file=StringIO(), width=500)
    console.print(make_listing(rows, "/nowhere"))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_stores_are_found_at_any_depth_and_at_the_root_itself(tmp_path: Path) -> None:
    for name in ("b.zarr", "deep/er/a.zarr"):
        create(tmp_path / name)
    (tmp_path / "deep" / "notes.txt").write_text("no store")
    assert found(tmp_path) == ["b.zarr", "deep/er/a.zarr"]
    assert found(tmp_path / "b.zarr") == ["."]


def test_a_row_says_what_the_store_is(tmp_path: Path) -> None:
    store = full_store(tmp_path / "a.zarr")
    (row,) = list_stores(tmp_path)
    size = sum(o.bytes for commit in store.commits.values() for o in commit.objects.values())
    assert row == StoreRow(
        location=str(tmp_path / "a.zarr"),
        dataset="toy",
        encoder="vit_b",
        image_size=96,
        levels=("patch", "neck"),
        samples=10,
        bytes=size,
        missing=0,
        fingerprint=store.fingerprint,
        last_commit=store.commits[2].written,
    )
    text = shown([row])
    for word in ("toy", "vit_b 96 px", "patch neck", "6.6 kB", "complete", row.fingerprint[:8]):
        assert word in text
    assert json.loads(json.dumps(row.to_json()))["levels"] == ["patch", "neck"]


def test_missing_shards_are_counted(tmp_path: Path) -> None:
    store = create(tmp_path / "a.zarr")
    (row,) = list_stores(tmp_path)
    assert (row.missing, row.bytes, row.last_commit) == (3, 0, None)
    commit_shard(store, 1, content(store, 1))
    (row,) = list_stores(tmp_path)
    assert row.missing == 2
    assert row.bytes == sum(
        entry.bytes for entry in Store(store.location).commits[1].objects.values()
    )
    assert "2 shards missing" in shown([row])


def test_a_shard_without_samples_is_not_missing(tmp_path: Path) -> None:
    from samcache.cache.create import add_generation

    store = create(tmp_path / "a.zarr")
    add_generation(store, store.table[(store.table["row"] < 4) | (store.table["row"] > 7)])
    assert list_stores(tmp_path)[0].missing == 2


def test_hidden_folders_stores_and_foreign_zarr_are_not_entered(tmp_path: Path) -> None:
    create(tmp_path / "a.zarr")
    create(tmp_path / "a.zarr" / "features" / "inner.zarr")
    create(tmp_path / ".trash" / "b.zarr")
    zarr.create_group(tmp_path / "foreign.zarr")
    create(tmp_path / "foreign.zarr" / "c.zarr")
    assert found(tmp_path) == ["a.zarr"]


def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    create(tmp_path / "elsewhere" / "a.zarr")
    root = tmp_path / "root"
    (root / "deep").mkdir(parents=True)
    (root / "deep" / "loop").symlink_to(root)
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "twice").symlink_to(tmp_path / "elsewhere" / "a.zarr")
    (root / "dangling").symlink_to(tmp_path / "nowhere")
    (root / "itself").symlink_to("itself")
    assert found(root) == ["linked/a.zarr"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda store: flip(store / "zarr.json"), "zarr.json is damaged"),
        (lambda store: (store / "zarr.json").unlink(), "no store at"),
        (lambda store: flip(store / "samples/00000000/zarr.json"), "sample table is damaged"),
        (lambda store: flip(store / make_commit_key(2)), "commit record of shard 2 is damaged"),
    ],
)
def test_a_damaged_store_has_its_reason_and_hides_no_other(
    tmp_path: Path, damage: object, reason: str
) -> None:
    for name in ("a.zarr", "b.zarr"):
        full_store(tmp_path / name)
    damage(tmp_path / "a.zarr")  # type: ignore[operator]
    bad, good = list_stores(tmp_path)
    assert reason in bad.problem
    assert "\n" not in bad.problem
    assert reason in shown([bad])
    assert not good.problem


def test_stores_in_a_bucket_are_found_without_listing_their_objects(
    s3: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full_store(f"{s3}/team/a.zarr")
    create(f"{s3}/team/deep/b.zarr")
    create(f"{s3}/.hidden/c.zarr")
    listed: list[str] = []
    listing = BucketObjects.list_objects

    def note(self: BucketObjects, prefix: str) -> dict[str, int]:
        listed.append(prefix)
        return listing(self, prefix)

    monkeypatch.setattr(BucketObjects, "list_objects", note)
    expected = [f"{s3}/team/a.zarr", f"{s3}/team/deep/b.zarr"]
    for root in (s3, f"{s3}/", f"{s3}/team"):
        assert [row.location for row in list_stores(root)] == expected
    (row,) = list_stores(f"{s3}/team/a.zarr")
    assert (row.location, row.missing, row.samples) == (f"{s3}/team/a.zarr", 0, 10)
    assert set(listed) == {"commits"}
    assert list_stores(f"{s3}/nothing") == []


def test_a_web_server_is_said_to_have_no_listing() -> None:
    with pytest.raises(StoreError, match="is a web server and cannot be listed"):
        list_stores("https://example.org/stores")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere is not a folder"):
        list_stores(tmp_path / "nowhere")


def test_what_may_not_be_read_is_listed_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.zarr", "locked.zarr", "newer.zarr", "torn.zarr"):
        create(tmp_path / name)
    (tmp_path / "locked").mkdir()
    record = json.loads((tmp_path / "newer.zarr/zarr.json").read_text())["attributes"]["samcache"]
    record["identity"]["format"] = 2
    (tmp_path / "newer.zarr/zarr.json").write_bytes(seal(record))
    (tmp_path / "torn.zarr/zarr.json").write_bytes(b"{")
    lock(monkeypatch, tmp_path / "locked")
    lock(monkeypatch, tmp_path / "locked.zarr/zarr.json")
    rows = {Path(row.location).name: row for row in list_stores(tmp_path)}
    assert {name: row.state for name, row in rows.items()} == {
        "a.zarr": "incomplete",
        "locked": "no access",
        "locked.zarr": "no access",
        "newer.zarr": "other format",
        "torn.zarr": "damaged",
    }
    assert "Permission denied: ask its owner for access" in rows["locked"].problem
    assert "Permission denied: ask its owner for access" in rows["locked.zarr"].problem
    assert "reads format 1" in rows["newer.zarr"].problem
    printed = CliRunner().invoke(cli, ["cache", "ls", str(tmp_path), "--json"])
    assert printed.exit_code == 1
    assert [row["state"] for row in json.loads(printed.stdout)].count("no access") == 2
    assert CliRunner().invoke(cli, ["cache", "ls", str(tmp_path / "a.zarr")]).exit_code == 0


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_names_are_shown_as_they_are(text: str) -> None:
    row = StoreRow("here", text, "[bold]", levels=("[red]",), problem="")
    assert "[bold]" in shown([row])
    assert "[red]" in shown([row])
    assert "[/x]" in shown([StoreRow("[/x]", problem=text)])
