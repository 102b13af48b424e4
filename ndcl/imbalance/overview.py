"""What training would see of a data set under a setting: the counts for one target domain, and sums over them.

Legend: D domains of the data set, S = D - 1 source domains (in the data set's order), K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ndcl.config import ImbalanceConfig
from ndcl.imbalance.settings import count_table
from ndcl.imbalance.shots import SHOT_GROUPS, shot_groups


@dataclass(frozen=True, kw_only=True)
class Overview:
    """One target domain's problem, in numbers."""

    target: str
    sources: tuple[str, ...]
    classes: tuple[str, ...]
    counts: NDArray[np.int64]
    """[S, K] training images."""
    validation: NDArray[np.int64]
    """[S, K] images held out for model selection."""
    groups: NDArray[np.int64]
    """[K] index of each class in SHOT_GROUPS."""
    num_test: int
    """Images of the target domain that test."""
    many_above: float
    few_below: float

    @property
    def totals(self) -> NDArray[np.int64]:
        """[K] training images of each class, all source domains together."""
        return np.asarray(self.counts.sum(axis=0))

    @property
    def order(self) -> NDArray[np.int64]:
        """[K] class ids from the most training images to the fewest; equal ones by id."""
        return np.argsort(-self.totals, kind="stable")

    @property
    def group_sizes(self) -> dict[str, int]:
        """Number of classes of each shot group."""
        return {name: int((self.groups == g).sum()) for g, name in enumerate(SHOT_GROUPS)}


def overview(
    imbalance: ImbalanceConfig,
    dataset: str,
    domains: Sequence[str],
    classes: Sequence[str],
    available: NDArray[np.int64],
    target: str,
) -> Overview:
    """What `imbalance` makes of the data set with images `available` [D, K] when `target` is unseen.

    Raises UserError as `count_table` does.
    """
    table = count_table(imbalance, dataset, domains, classes, available, target)
    unseen = tuple(domains).index(target)
    rows = [e for e in range(len(domains)) if e != unseen]
    test = available[unseen]
    return Overview(
        target=target,
        sources=tuple(domains[e] for e in rows),
        classes=tuple(classes),
        counts=table.counts,
        validation=np.where(available[rows] > 0, table.validation, 0),
        groups=shot_groups(table.counts, table.many_above, table.few_below),
        # as in `ndcl.data.problem`: the oracle's part of a class is at most half of it
        num_test=int((test - np.minimum(test // 2, table.validation)).sum()),
        many_above=table.many_above,
        few_below=table.few_below,
    )


def imbalance_ratio(counts: NDArray[np.int64]) -> float | None:
    """Largest over smallest of the class counts [K], over the classes that have any image; None if none has."""
    present = counts[counts > 0]
    return float(present.max() / present.min()) if len(present) else None
