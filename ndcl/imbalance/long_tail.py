"""Exponentially falling class sizes (Cui et al. 2019), by their imbalance ratio or given one by one.

Legend: S source domains, D domains, K classes; rank 0 is the largest class.
"""

import numpy as np
from numpy.typing import NDArray

from ndcl.errors import UserError
from ndcl.imbalance.sources import SourceCounts


def class_ranks(num_domains: int, num_classes: int, seed: int, *, per_domain: bool) -> NDArray[np.int64]:
    """Rank of each class in each domain [D, K]: one random order for all domains, or one for each.

    All domains of a data set take part, so that a domain's order does not depend on which of them is the target.
    """
    rng = np.random.RandomState(seed)
    if not per_domain:
        return np.tile(rng.permutation(num_classes), (num_domains, 1))
    return np.stack([rng.permutation(num_classes) for _ in range(num_domains)])


def long_tail(
    sources: SourceCounts, ranks: NDArray[np.int64], ratio: float | None, counts: tuple[int, ...] | None
) -> NDArray[np.int64]:
    """Training images [S, K], for class ranks [S, K] and either a ratio or counts by rank [K].

    Raises UserError unless exactly one of the two is given, or if it does not suit the data.
    """
    if ratio is not None and counts is not None:
        raise UserError("imbalance: the setting long_tail takes a ratio or counts, not both; remove one of them")
    if ratio is None and counts is None:
        raise UserError("imbalance: the setting long_tail needs either a ratio or counts; give one of them")
    if counts is not None:
        return _by_rank(counts, len(sources.classes))[ranks]
    assert ratio is not None
    tails = [tail_counts(_limit(sources, e, ratio), ratio, len(sources.classes)) for e in range(len(ranks))]
    return np.take_along_axis(np.stack(tails), ranks, axis=1)


def tail_counts(limit: int, ratio: float, num_classes: int) -> NDArray[np.int64]:
    """Counts [K] by rank, falling geometrically, with first / last = ratio as near as whole numbers allow.

    `limit` >= ratio is the most images that a class may have. The smallest class is settled first: rounding it is
    what would spoil the ratio.
    """
    smallest = int(limit / ratio)
    largest = min(limit, round(smallest * ratio))
    return np.rint(np.geomspace(largest, smallest, num_classes)).astype(np.int64)


def _limit(sources: SourceCounts, e: int, ratio: float) -> int:
    """Images that every class of source e has, so that any order of classes is possible."""
    k = int(sources.available[e].argmin())
    limit = int(sources.available[e, k])
    if limit < ratio:
        raise UserError(
            f"imbalance.ratio: {ratio:g} needs {int(np.ceil(ratio))} training images of every class, but domain "
            f"'{sources.domains[e]}' has only {limit} of class '{sources.classes[k]}' beside its validation images; "
            f"lower the ratio or imbalance.validation, or give imbalance.counts"
        )
    return limit


def _by_rank(counts: tuple[int, ...], num_classes: int) -> NDArray[np.int64]:
    if len(counts) != num_classes:
        raise UserError(
            f"imbalance.counts: {len(counts)} numbers for {num_classes} classes; give one for each class rank"
        )
    return np.sort(np.array(counts, np.int64))[::-1]
