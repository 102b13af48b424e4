"""Spearman's rank correlation over the trials of several studies; docs/report.md says what it is and is not.

Legend: n trials, each of one of S studies.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness.report.analysis.paired_statistics import Interval

FEWEST_TRIALS = 6
"""Of fewer, nothing is said."""
NUM_PERMUTATIONS = 1999
DEVIATIONS = 1.959964
"""Half the width of a 95 % interval in standard errors."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """How two quantities of trials go together."""

    num_trials: int
    rho: float | None
    """Over all trials; None of too few, or where a quantity is the same in all."""
    interval: Interval | None
    """95 %, as if the trials had been drawn independently of each other; None where they are perfectly correlated."""
    within: float | None
    """Of the ranks within each study, so that studies which differ as a whole add nothing."""
    p: float | None
    """Two-sided, of `within`, by permutations within studies."""


def rank_correlation(x: Sequence[float], y: Sequence[float], studies: Sequence[int]) -> RankCorrelation:
    """Of the quantities `x` [n] and `y` [n]; `studies` [n] are the numbers of the trials' studies."""
    num_trials = len(x)
    if num_trials < FEWEST_TRIALS:
        return RankCorrelation(num_trials=num_trials, rho=None, interval=None, within=None, p=None)
    order = np.argsort(np.asarray(studies), kind="stable")
    first, second = np.asarray(x, np.float64)[order], np.asarray(y, np.float64)[order]
    sizes = tuple(np.unique(np.asarray(studies), return_counts=True)[1].tolist())
    rho = _cosine(_centred(first), _centred(second))
    within, p = _within(first, second, sizes)
    interval = None if rho is None else fisher_interval(rho, num_trials)
    return RankCorrelation(num_trials=num_trials, rho=rho, interval=interval, within=within, p=p)


def spearman(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Spearman's coefficient of `x` [n] and `y` [n]; None where one of them is the same everywhere."""
    return _cosine(_centred(np.asarray(x, np.float64)), _centred(np.asarray(y, np.float64)))


def fisher_interval(rho: float, num_trials: int) -> Interval | None:
    """95 % interval of a rank correlation by Fisher's z, with the variance of Bonett and Wright (2000)."""
    if abs(rho) > 1 - 1e-9:
        return None
    half = DEVIATIONS * math.sqrt((1 + rho**2 / 2) / (num_trials - 3))
    return math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)


def _within(x: Floats, y: Floats, sizes: tuple[int, ...]) -> tuple[float | None, float | None]:
    """Correlation of the ranks within studies, and its p; trials stand study by study, `sizes` [S] of each."""
    ends = np.cumsum(sizes)[:-1]
    first, second = (np.concatenate([_centred(part) for part in np.split(values, ends)]) for values in (x, y))
    within = _cosine(first, second)
    if within is None:
        return None, None
    products = np.abs(second[_permutations(sizes)] @ first)
    as_far = int((products >= abs(first @ second) - 1e-9).sum())
    return within, (1 + as_far) / (1 + NUM_PERMUTATIONS)


@lru_cache(maxsize=32)
def _permutations(sizes: tuple[int, ...]) -> NDArray[np.int64]:
    """[NUM_PERMUTATIONS, n] places that trials take, each one in its own study; the same for equal sizes."""
    rng = np.random.default_rng(0)
    starts = np.cumsum((0, *sizes[:-1]))
    parts = [
        start + rng.permuted(np.tile(np.arange(size), (NUM_PERMUTATIONS, 1)), axis=1)
        for start, size in zip(starts, sizes, strict=True)
    ]
    return np.concatenate(parts, axis=1)


def _centred(values: Floats) -> Floats:
    """Ranks in (-1/2, 1/2) with mean 0; equal values share their mean rank."""
    from scipy.stats import rankdata  # slow to import

    ranks = rankdata(values)
    centred: Floats = (ranks - ranks.mean()) / len(values)
    return centred


def _cosine(first: Floats, second: Floats) -> float | None:
    """None if one of them is 0."""
    lengths = math.sqrt((first @ first) * (second @ second))
    return float(first @ second) / lengths if lengths > 0 else None
