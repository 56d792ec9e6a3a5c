"""Preprocessing is SAM's own: checked against segment_anything's code."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from segment_anything.modeling import Sam
from segment_anything.utils.transforms import ResizeLongestSide

from samcache.extract.images.preprocess import fit_shape, normalise, to_frame


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(40, 100), (100, 40), (64, 64), (28, 28), (1, 1), (63, 65)])
def test_frames_and_values_are_sams(shape: tuple[int, int]) -> None:
    image = noise(*shape)
    frame, extent = to_frame(Image.fromarray(image), 64)
    resized = ResizeLongestSide(64).apply_image(image)
    assert resized.shape[:2] == extent
    np.testing.assert_array_equal(frame[: extent[0], : extent[1]], resized)

    sam = Sam(image_encoder=torch.nn.Identity(), prompt_encoder=None, mask_decoder=None)
    sam.image_encoder.img_size = 64
    expected = sam.preprocess(torch.from_numpy(resized).permute(2, 0, 1).float())
    found = normalise(torch.from_numpy(np.stack([frame])), [extent], "sam")[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_medsam_scales_each_image_to_its_own_range() -> None:
    given = noise(32, 64), noise(64, 64) // 4 + 9
    wide, dark = (to_frame(Image.fromarray(pixels), 64) for pixels in given)
    found = normalise(torch.from_numpy(np.stack([wide[0], dark[0]])), [wide[1], dark[1]], "medsam")
    assert found[0, :, :32].min() == 0
    assert found[0, :, :32].max() == 1
    assert (found[0, :, 32:] == 0).all()
    assert found[1].min() == 0, "the padding of another image has no part in the range"
    assert found[1].max() == 1


def test_a_flat_image_stays_finite_for_medsam() -> None:
    flat = Image.new("RGB", (8, 8), (50, 50, 50))
    frame, extent = to_frame(flat, 16)
    assert (normalise(torch.from_numpy(np.stack([frame])), [extent], "medsam") == 0).all()


@given(st.integers(1, 40_000), st.integers(1, 40_000), st.sampled_from([64, 256, 1024]))
def test_the_longest_side_always_fits_and_no_side_vanishes(h: int, w: int, side: int) -> None:
    height, width = fit_shape(h, w, side)
    assert max(height, width) == side
    assert min(height, width) >= 1
