"""Controls of SLCA: what of its effect comes from the right features in the right place?

shuffled: every image is attended by another image's features. random: by noise with the features'
mean and deviation per channel, another for each seed. global: by one vector an image
(squeeze-and-excitation); per-location: by every cell of the encoder's map.
"""

from dataclasses import replace

import torch

from samcache.train.data.dataset import TrainingData
from samcache.train.tasks.splits import Member

_RANDOM_SEED = 0
_CHUNK = 256
_EXCHANGED = ("shuffled", "random")


def fill_with_noise(data: TrainingData) -> None:
    """Replace every row's maps by Gaussian noise, which trainings then deal out, each by its seed.

    Mean and deviation of each channel are those of the pooled maps of all samples. The maps are
    overwritten in place, so that no second set of them needs room.
    """
    generator = torch.Generator().manual_seed(_RANDOM_SEED)
    for maps in data.pooled.values():
        mean = maps.mean(dim=(0, 2, 3), keepdim=True, dtype=torch.float64)
        squares = [((part - mean) ** 2).sum(dim=(0, 2, 3)) for part in torch.split(maps, _CHUNK)]
        variance = torch.stack(squares).sum(dim=0) / (maps.numel() / maps.shape[1])
        std = variance.sqrt().view(1, -1, 1, 1).float()
        for part in torch.split(maps, _CHUNK):
            drawn = torch.randn(part.shape, generator=generator)
            part.copy_(mean.float() + std * drawn.to(part.device))


def choose_features(data: TrainingData, member: Member, attention: str) -> TrainingData:
    """The data with the maps that a kind of attention gives to a member's samples."""
    # of the noise, too, each seed gives a sample another one
    return exchange_features(data, member) if attention in _EXCHANGED else data


def exchange_features(data: TrainingData, member: Member) -> TrainingData:
    """Every sample takes the maps of another one of the same part of the member's rows.

    A random cycle through the samples of train, of val and of test, so that none keeps its own.
    """
    source = torch.arange(len(data.labels))
    generator = torch.Generator().manual_seed(member.seed)
    for rows in (member.train, member.val, member.test):
        cycle = rows[torch.randperm(len(rows), generator=generator)]
        source[cycle] = cycle.roll(1)
    return replace(data, feature_rows=source.to(data.labels.device))
