"""The comparison with other software: its page, and samcache's own column, without the others."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "benchmarks" / "peers"


@pytest.fixture(autouse=True)
def peers_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(PEERS), *sys.path])


def test_the_page_is_that_of_the_committed_results() -> None:
    from page import page

    assert (ROOT / "benchmarks" / "peers.md").read_text("utf-8") == page(PEERS / "results")


def test_the_figures_of_the_short_page_are_those_of_the_full_log() -> None:
    shown = re.findall(r"\d+\.\d+", (ROOT / "docs" / "comparison.md").read_text("utf-8"))
    log = (ROOT / "benchmarks" / "peers.md").read_text("utf-8")
    assert len(shown) > 15
    assert [figure for figure in shown if figure not in log] == []


def test_a_page_without_results_says_so(tmp_path: Path) -> None:
    from page import page

    text = page(tmp_path)

    assert "Not run yet" in text
    assert "{{" not in text


def test_the_formats_that_need_no_peer_hand_out_what_they_were_given(tmp_path: Path) -> None:
    from formats import Features, Format, Hdf5, Memmap, Safetensors, ZarrPython
    from samcache_formats import Samcache, SamcacheOnDisk, SamcacheRows

    rng = np.random.default_rng(0)
    shapes = {"early": (4, 8, 8), "neck": (8, 4, 4)}
    maps = {name: rng.random((70, *shape)).astype(np.float16) for name, shape in shapes.items()}
    features = Features(maps, np.arange(70))
    written: dict[type[Format], Path] = {}
    for form in (Samcache, Hdf5, Memmap, Safetensors, ZarrPython):
        written[form] = tmp_path / form.__name__
        written[form].mkdir()
        form().write(features, written[form])
    written |= {SamcacheOnDisk: written[Samcache], SamcacheRows: written[Samcache]}

    for form, folder in written.items():
        seen = []
        for batch, labels in form().open(str(folder))(3):
            seen += labels.tolist()
            for level, values in batch.items():
                np.testing.assert_array_equal(values.numpy(), maps[level][labels.numpy()])
        assert sorted(seen) == list(range(70)), form
        assert seen != sorted(seen)


def test_a_copy_of_the_process_answers_or_fails_loudly() -> None:
    from forked import in_a_copy

    assert in_a_copy(lambda x: {"twice": 2 * x}, 4) == {"twice": 8}
    with pytest.raises(RuntimeError, match="failed"):
        in_a_copy(lambda: 1 / 0)
