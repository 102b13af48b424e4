"""Many-, median-, few- and zero-shot classes."""

import numpy as np
from numpy.typing import NDArray

SHOT_GROUPS = ("many", "median", "few", "zero")


def shot_groups(counts: NDArray[np.int64], many_above: float, few_below: float) -> NDArray[np.int64]:
    """Index of each class in SHOT_GROUPS [K], by the mean over source domains of its training images `counts` [S, K].

    Above `many_above` is many, below `few_below` few, no image in any source zero, else median.
    """
    mean = counts.mean(axis=0)
    names = np.select([mean == 0, mean > many_above, mean < few_below], ["zero", "many", "few"], "median")
    return np.array([SHOT_GROUPS.index(str(name)) for name in names], np.int64)
