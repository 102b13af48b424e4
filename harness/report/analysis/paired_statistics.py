"""Statistics of paired differences between two algorithms; docs/report.md says what each of them is and is not.

Legend: T target domains; n pairs, one per training seed that both algorithms have, on each target domain.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

SHOWN_DIFFERENT = ("higher", "lower")
"""Verdicts by which two algorithms differ."""
Verdict = Literal["higher", "lower", "within noise", "not significant", "too few pairs"]
Interval = tuple[float, float]
K = TypeVar("K", bound=Hashable)
LEVEL = 0.05
"""A difference counts if its interval of 1 - LEVEL excludes 0 and its corrected p is below LEVEL."""
NUM_RESAMPLES = 10_000
FEWEST_TARGETS = 3
"""With fewer target domains, nothing can be said about others."""
DECIMALS = 12
"""Differences are rounded to so many before they are ranked: of equal accuracies they are equal only up to here."""


@dataclass(frozen=True, kw_only=True)
class PairedResult:
    """What the pairs of one contrast say about its mean difference over target domains."""

    interval: Interval | None
    """95 % bootstrap interval for these target domains: seeds are resampled within each. None if one has no second."""
    interval_over_targets: Interval | None
    """The same with target domains resampled too. None with fewer than FEWEST_TARGETS."""
    num_pairs: int
    p: float
    """Two-sided, of Wilcoxon's signed-rank test over all pairs."""
    p_corrected: float
    """After Holm's correction for the contrasts of its family."""
    verdict: Verdict


def paired_results(family: Mapping[K, Sequence[Sequence[float]]]) -> dict[K, PairedResult]:
    """The results of contrasts that are read together, each given by its [T][n] differences, n at least 1."""
    pooled = {name: _pooled(differences) for name, differences in family.items()}
    values = {name: signed_rank_p(pairs) for name, pairs in pooled.items()}
    corrected, least = holm(values), holm({name: least_p(len(pairs)) for name, pairs in pooled.items()})
    return {
        name: _result(differences, values[name], corrected[name], least[name]) for name, differences in family.items()
    }


def _pooled(differences: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """All pairs, rounded so that equal differences are seen as ties."""
    return np.round(np.concatenate([np.asarray(pairs, np.float64) for pairs in differences]), DECIMALS)


def _result(differences: Sequence[Sequence[float]], p: float, p_corrected: float, least: float) -> PairedResult:
    interval = bootstrap_interval(differences)
    return PairedResult(
        interval=interval,
        interval_over_targets=bootstrap_interval(differences, over_targets=True),
        num_pairs=sum(map(len, differences)),
        p=p,
        p_corrected=p_corrected,
        verdict=_verdict(interval, p_corrected, least),
    )


def _verdict(interval: Interval | None, p_corrected: float, least: float) -> Verdict:
    """By the one rule; `least` is the lowest p_corrected that so many pairs could have given."""
    if interval is None or least >= LEVEL:
        return "too few pairs"
    if interval[0] <= 0 <= interval[1]:
        return "within noise"
    if p_corrected >= LEVEL:
        return "not significant"
    return "higher" if interval[0] > 0 else "lower"


def bootstrap_interval(differences: Sequence[Sequence[float]], *, over_targets: bool = False) -> Interval | None:
    """Percentile interval of the mean over targets of the mean over pairs, or None where there is too little.

    Each resample draws n - 1 of a target's n pairs with replacement, and with `over_targets` first T - 1 of the T
    targets: with n draws the variance would come out too small by (n - 1) / n, a third for three seeds (McCarthy and
    Snowden 1985; Rao and Wu 1988). The draws are the same for all contrasts of the same shape.
    """
    sizes = tuple(map(len, differences))
    if min(sizes) < 2 or (over_targets and len(sizes) < FEWEST_TARGETS):
        return None
    means = _weights(sizes, over_targets) @ np.concatenate([np.asarray(pairs, np.float64) for pairs in differences])
    low, high = np.quantile(means, [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)


@lru_cache(maxsize=32)
def _weights(sizes: tuple[int, ...], over_targets: bool) -> NDArray[np.float64]:
    """[NUM_RESAMPLES, pairs]: what each pair weighs in the mean of each resample; a row sums to 1."""
    rng = np.random.default_rng(0)
    num_targets = len(sizes)
    drawn = np.ones((NUM_RESAMPLES, num_targets), np.int64)
    if over_targets:
        drawn = rng.multinomial(num_targets - 1, np.full(num_targets, 1 / num_targets), NUM_RESAMPLES)
    counts = [
        rng.multinomial(drawn[:, t] * (n - 1), np.full(n, 1 / n)) / (n - 1)  # as many draws as the target was drawn
        for t, n in enumerate(sizes)
    ]
    weights: NDArray[np.float64] = np.concatenate(counts, axis=1) / drawn.sum(axis=1, keepdims=True)
    return weights


def signed_rank_p(differences: NDArray[np.float64]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; pairs without a difference are left out, as by Wilcoxon.

    Exact for any number of pairs, and with ties too, which share their mean rank: accuracies on a few hundred images
    often tie (where scipy approximates from 14 pairs on).
    """
    from scipy.stats import rankdata  # slow to import

    present = differences[differences != 0]
    ranks = (2 * rankdata(np.abs(present))).astype(np.int64)  # doubled, so that they are whole numbers
    sums = np.ones(1)  # chance of each sum of the ranks with a positive sign, if all signs are equally likely
    for rank in ranks:
        sums = (np.pad(sums, (0, rank)) + np.pad(sums, (rank, 0))) / 2
    deviations = np.abs(2 * np.arange(len(sums)) - ranks.sum())
    observed = np.abs(2 * ranks[present > 0].sum() - ranks.sum())
    return min(1.0, float(sums[deviations >= observed].sum()))


def least_p(num_pairs: int) -> float:
    """The lowest two-sided p that a signed-rank test can give: all of 2^n equally likely signs alike."""
    return 2.0 ** (1 - num_pairs)


def holm(p_values: Mapping[K, float]) -> dict[K, float]:
    """Adjusted p values of a family of tests (Holm 1979): their chance of any false alarm stays below the level."""
    corrected: dict[K, float] = {}
    highest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[name]))
        corrected[name] = highest
    return corrected
