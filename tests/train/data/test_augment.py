"""Photometric changes are mild, differ between images, and follow from the generator alone."""

import torch

from samcache.train.data.augment import Photometric

IMAGES = torch.randn(64, 3, 20, 20, generator=torch.Generator().manual_seed(0))


def drawn(change: Photometric, seed: int = 1) -> torch.Tensor:
    return change(IMAGES, torch.Generator().manual_seed(seed))


def test_the_same_generator_gives_the_same_bits() -> None:
    torch.manual_seed(0)
    first = drawn(Photometric())
    torch.manual_seed(1)  # torch's own generator has no part in it
    assert torch.equal(first, drawn(Photometric()))
    assert not torch.equal(first, drawn(Photometric(), seed=2))


def test_without_strength_nothing_changes() -> None:
    assert torch.equal(drawn(Photometric(0, 0, 0, 0)), IMAGES)


def test_each_image_is_shifted_and_stretched_by_its_own_amount() -> None:
    changed = drawn(Photometric(0.2, 0.3, 0, 0))
    stretch = changed.std(dim=(1, 2, 3)) / IMAGES.std(dim=(1, 2, 3))
    shift = (changed - IMAGES * stretch.view(-1, 1, 1, 1)).mean(dim=(1, 2, 3))
    torch.testing.assert_close(
        changed, IMAGES * stretch.view(-1, 1, 1, 1) + shift.view(-1, 1, 1, 1)
    )
    assert 0.15 < shift.abs().max() <= 0.2
    assert 0.25 < (stretch - 1).abs().max() <= 0.3
    assert len(set(shift.tolist())) == 64


def test_noise_has_its_deviation() -> None:
    noise = drawn(Photometric(0, 0, 0.5, 0)) - IMAGES
    assert abs(float(noise.std()) - 0.5) < 0.01
    assert abs(float(noise.mean())) < 0.01


def test_one_rectangle_is_erased_in_all_channels_of_some_images() -> None:
    gone = drawn(Photometric(0, 0, 0, 0.5, (0.2, 0.4))) == 0
    assert (gone[:, 0] == gone[:, 1]).all()
    assert (gone[:, 0] == gone[:, 2]).all()
    hit = gone[:, 0].flatten(1).any(1)
    assert 20 <= hit.sum() <= 44
    for mask in gone[hit, 0]:
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        assert 3 <= len(rows) <= 9
        assert 3 <= len(columns) <= 9
        assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all(), "a full rectangle"
        assert mask.sum() == len(rows) * len(columns)
