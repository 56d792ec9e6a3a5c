"""An epoch's batches hold every row once, or every class equally often."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from samcache.train.data.batches import draw_mixing_shares, mix_samples, order_batches


@given(st.sets(st.integers(0, 99), min_size=2), st.integers(2, 40), st.integers(0, 9))
def test_every_row_is_in_one_batch(rows: set[int], size: int, seed: int) -> None:
    chosen = torch.tensor(sorted(rows))
    generator = torch.Generator().manual_seed(seed)
    batches = order_batches(chosen, size, generator)
    assert all(2 <= len(batch) <= size for batch in batches)
    found = torch.cat(batches).tolist()
    assert len(found) == len(set(found)) == len(rows) - (len(rows) % size == 1)
    assert set(found) <= rows


def test_balanced_sampling_draws_every_class_equally_often() -> None:
    labels = (torch.arange(20_000) % 10 == 0).long() + 2 * (torch.arange(20_000) % 50 == 1).long()
    rows = torch.arange(10_000)
    batches = order_batches(rows, 64, torch.Generator().manual_seed(0), balanced=labels)
    drawn = torch.cat(batches)
    assert drawn.max() < 10_000, "of the training rows alone"
    shares = torch.bincount(labels[drawn]) / len(drawn)
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3), atol=0.02, rtol=0)


def test_mixup_mixes_each_sample_with_its_partner() -> None:
    values, partners = torch.tensor([[0.0], [10.0], [20.0]]), torch.tensor([1, 2, 0])
    torch.testing.assert_close(
        mix_samples(values, partners, 0.8), torch.tensor([[2.0], [12.0], [16.0]])
    )
    shares = draw_mixing_shares(0.4, 500, seed=0, epoch=1)
    assert min(shares) >= 0.5
    assert max(shares) <= 1
    assert sum(shares) / 500 == pytest.approx(0.85, abs=0.03)
    assert shares == draw_mixing_shares(0.4, 500, seed=0, epoch=1)
    assert shares != draw_mixing_shares(0.4, 500, seed=0, epoch=2)
    assert draw_mixing_shares(0, 3, seed=0, epoch=1) == [1, 1, 1]
