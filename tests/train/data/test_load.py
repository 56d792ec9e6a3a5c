"""A store's images and maps, prepared in parts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from store_content import full_store

from samcache.train.data.load import InputPlan, load_training_data
from samcache.train.data.resize import share_resize


@pytest.mark.parametrize("part", [1, 3, 100])
def test_training_data_do_not_depend_on_how_many_samples_are_prepared_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    store = full_store(tmp_path / "s.zarr")
    monkeypatch.setattr("samcache.train.data.load._PREPARED", part)
    data = load_training_data(InputPlan.of(store, {"neck": 1}, 5))
    rows = data.samples["row"].to_numpy()
    images = torch.from_numpy(store.read_images(0, 10)[rows])
    assert torch.equal(data.images, share_resize(images.shape[1], 5)(images.permute(0, 3, 1, 2)))
    means = store.read_features("neck", 0, 10)[rows, 0].astype(np.float32).mean((2, 3))
    np.testing.assert_allclose(data.pooled["neck"][:, :, 0, 0], means, rtol=1e-3)
