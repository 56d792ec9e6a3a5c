"""What encodes on a GPU keeps to it, from frames to what the store keeps."""

from collections.abc import Iterator

import pytest
import torch
from pretended_gpu import GPU, moved
from torch._subclasses.fake_tensor import FakeTensorMode

from samcache.extract.encoders.load import resolve_levels
from samcache.extract.encoders.networks import sam2, vit
from samcache.extract.encoders.networks.attention import run_block
from samcache.extract.encoders.registry import LEVELS, find_architecture
from samcache.extract.images import preprocess
from samcache.extract.images.preprocess import normalise
from samcache.extract.pipeline.reduction import measure_channels, pool_maps

SIDE = 256


@pytest.fixture(autouse=True)
def no_pretended_constants() -> Iterator[None]:
    yield
    preprocess._make_lines.cache_clear()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", ["vit_b", "vit_t", "vit_t_med", "sam2_t"])
def test_an_image_is_encoded_where_it_lies(
    name: str, precision: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (vit, sam2):  # no code is made for it
        monkeypatch.setattr(module, "compile_block", lambda run=run_block: run)
    architecture = find_architecture(name)
    with torch.device("meta"):
        model = architecture.build(SIDE, resolve_levels(architecture, LEVELS)).eval()
        model.requires_grad_(False).prepare(precision)
    with FakeTensorMode(), torch.no_grad():
        frames = torch.empty(2, SIDE, SIDE, 3, dtype=torch.uint8, device=GPU)
        extents = [(SIDE, SIDE), (SIDE, 100)]
        maps = moved(model)(normalise(frames, extents, architecture.preprocessing))
        assert set(maps) == set(LEVELS)
        for values in maps.values():
            full = values.float()
            assert pool_maps(full, 4).device == measure_channels(full).device == GPU
