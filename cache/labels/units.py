"""Images that must share a split or fold: those of one group, and byte-identical ones."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Codes = npt.NDArray[np.int64]


def number_groups(samples: pd.DataFrame) -> Codes:
    """(n,) int64, equal for samples of one group; a sample without a group is one of its own.

    The numbers follow the names in columns id and group, not the samples' order.
    """
    names = samples["group"].where(samples["group"] != "", "\0" + samples["id"])
    return np.unique(names.to_numpy(dtype=str), return_inverse=True)[1].astype(np.int64)


def number_units(samples: pd.DataFrame) -> Codes:
    """As ``number_groups``, with groups joined where they hold the same image.

    samples: columns id, group, and sha256 ("" where unknown) if the images have been read.
    """
    groups = number_groups(samples)
    if "sha256" not in samples or len(samples) == 0:
        return groups
    known = (samples["sha256"] != "").to_numpy()
    images = pd.factorize(samples["sha256"][known])[0] + groups.max() + 1
    nodes = int(max(images.max(initial=0), groups.max())) + 1
    links = coo_array((np.ones(len(images)), (groups[known], images)), shape=(nodes, nodes))
    joined: Codes = connected_components(links, directed=False)[1][groups].astype(np.int64)
    return joined


def name_units(samples: pd.DataFrame) -> pd.Series:
    """Each sample's unit under the least name of its groups, or of its ids where it has none."""
    names = samples["group"].where(samples["group"] != "", samples["id"])
    return names.groupby(number_units(samples)).transform("min")
