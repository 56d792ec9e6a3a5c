"""``samcache encoders`` and the names of encoders on the command line."""

import json
from collections.abc import Callable

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from samcache.cli import cli
from samcache.extract.encoders.registry import LEVELS


@pytest.fixture
def told() -> Callable[..., str]:
    def run(*words: str, status: int = 0) -> str:
        result = CliRunner().invoke(cli, ["encoders", *words])
        assert result.exit_code == status, result.output
        return result.output

    return run


def test_named_encoders_are_listed_with_shapes_and_bytes(told: Callable[..., str]) -> None:
    lines = told("vit_b", "vit_t").splitlines()
    assert lines[1].split() == [
        *("vit_b", "SAM", "89.7", "M", "1024", "px", "4", "1.7", "MB", "sam_vit_b_01ec64.pth"),
    ]  # 4 levels of 768 x 16 x 16 and a neck of 256 x 16 x 16, 2 bytes each
    assert lines[-1].split() == [
        *("vit_t", "64x256x256", "128x128x128", "160x64x64", "320x64x64", "256x64x64"),
    ]


def test_another_input_size_changes_shapes_and_the_default_pool(told: Callable[..., str]) -> None:
    found = json.loads(told("vit_b", "--image-size", "96", "--json"))["encoders"][0]
    assert found["pool"] == 3
    assert found["shapes"] == {level: [768, 6, 6] for level in LEVELS[:-1]} | {"neck": [256, 6, 6]}
    assert found["image_bytes"] == 2 * (4 * 768 + 256) * 2 * 2


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["vitb"], 2, "unknown encoder 'vitb': do you mean vit_b?"),
        (["MobileSAM"], 2, "'MobileSAM' is a model: its encoder is vit_t"),
        (["SAM"], 2, "'SAM' is a model: its encoders: vit_b, vit_l, vit_h"),
        (["sam2"], 2, "'sam2' is a model: its encoders: sam2_t, sam2_s, sam2_b+, sam2_l"),
        (["clip"], 2, "samcache encoders lists them"),
        (["vit_b", "--image-size", "100"], 1, "expected a multiple of 16"),
        (["vit_b", "--pool", "3"], 1, "choose a pool that divides 64 (--pool)"),
    ],
)
def test_a_wrong_name_or_size_says_what_to_choose(
    told: Callable[..., str], words: list[str], status: int, message: str
) -> None:
    assert message in told(*words, status=status)


@pytest.mark.parametrize(
    ("begun", "expected"),
    [
        ("vit_t_", ["vit_t_med"]),
        ("sam2_b", ["sam2_b+"]),
        ("timm:vit_small_patch14_re", ["timm:vit_small_patch14_reg4_dinov2"]),
    ],
)
def test_the_shell_completes_encoders(begun: str, expected: list[str]) -> None:
    complete = ShellComplete(cli, {}, "samcache", "_SAMCACHE_COMPLETE")
    for words in (["extract", "images", "--encoder"], ["encoders"]):
        found = [item.value for item in complete.get_completions(words, begun)]
        assert found == expected, words
