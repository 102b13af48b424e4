"""Mean ranks of many algorithms over target domains, as the field compares them (Demšar 2006, JMLR 7)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.report.analysis.setting_table import Section

LEAST_ALGORITHMS, LEAST_TARGETS = 3, 2
"""With fewer a rank says no more than the difference itself, or nothing."""
LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Of one metric; rank 1 is the highest accuracy on a domain."""

    means: Mapping[str, float]
    """By algorithm, the best first: the mean over target domains; equal accuracies share the mean of their ranks."""
    critical_difference: float
    """Nemenyi's: mean ranks closer than this are not told apart, at a level of 0.05 for all pairs together."""
    p: float
    """Friedman's test: the chance of ranks so far apart if all algorithms were the same."""
    num_targets: int

    def is_with_the_first(self, algorithm: str) -> bool:
        """Whether it is not told apart from the best."""
        return self.means[algorithm] - min(self.means.values()) <= self.critical_difference


def ranks_of(section: Section, algorithms: tuple[str, ...]) -> Ranks | None:
    """Of the mean accuracies on the targets for which every algorithm has one; None of too few of either."""
    if len(algorithms) < LEAST_ALGORITHMS or len(section.mean_over) < LEAST_TARGETS:
        return None
    from scipy import stats

    accuracies = np.array([[section.cells[a, t].mean for a in algorithms] for t in section.mean_over])
    ranks = stats.rankdata(-accuracies, axis=1)
    means = ranks.mean(axis=0)
    number, count = len(algorithms), len(section.mean_over)
    spread = stats.studentized_range.ppf(1 - LEVEL, number, math.inf) / math.sqrt(2)
    p = 1.0 if np.ptp(ranks) == 0 else float(stats.friedmanchisquare(*accuracies.T).pvalue)
    by_name = dict(zip(algorithms, map(float, means), strict=True))
    return Ranks(
        means=dict(sorted(by_name.items(), key=lambda item: item[1])),
        critical_difference=float(spread * math.sqrt(number * (number + 1) / (6 * count))),
        p=p,
        num_targets=count,
    )
