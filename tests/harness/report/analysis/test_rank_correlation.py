"""Rank correlations: by hand, against scipy, and their p against plain enumeration."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from harness.report.analysis.rank_correlation import FEWEST_TRIALS, NUM_PERMUTATIONS, fisher_interval, rank_correlation


def drawn(seed: int, num_trials: int, slope: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=num_trials)
    return x, slope * x + rng.normal(size=num_trials)


@pytest.mark.parametrize("slope", [-1.0, 0.0, 0.3, 2.0])
@pytest.mark.parametrize("digits", [0, 8])  # of 0, most values are equal to others
def test_it_is_spearmans(slope: float, digits: int) -> None:
    x, y = (values.round(digits) for values in drawn(0, 40, slope))
    found = rank_correlation(x, y, [0] * 40)
    assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.within == pytest.approx(found.rho)
    assert found.num_trials == 40


def test_studies_that_differ_as_a_whole_add_nothing_within() -> None:
    x = [1, 2, 3, 11, 12, 13]
    y = [3, 2, 1, 13, 12, 11]  # falls in both studies
    found = rank_correlation(x, y, [0, 0, 0, 1, 1, 1])
    assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.rho > 0.5
    assert found.within == pytest.approx(-1)


def test_the_order_of_trials_and_the_numbers_of_studies_do_not_matter() -> None:
    x, y = drawn(1, 30, 0.5)
    studies = np.repeat([0, 1, 2], 10)
    order = np.random.default_rng(2).permutation(30)
    assert rank_correlation(x[order], y[order], 7 - studies[order]).within == pytest.approx(
        rank_correlation(x, y, studies).within
    )


def test_p_is_that_of_all_permutations_within_studies() -> None:
    x, y = np.array([1.0, 2, 3, 4, 1, 2, 3]), np.array([1.0, 3, 2, 4, 2, 3, 1])
    first, second = range(4), range(4, 7)
    halves = [np.array([r - 2.5 for r in x[:4]]) / 4, np.array([r - 2 for r in x[4:]]) / 3]
    ranks = np.concatenate(halves)
    own = np.concatenate([(y[:4] - 2.5) / 4, (y[4:] - 2) / 3])
    sums = [abs(ranks @ own[[*a, *b]]) for a in permutations(first) for b in permutations(second)]
    exact = np.mean(np.array(sums) >= abs(ranks @ own) - 1e-9)
    found = rank_correlation(x, y, [0] * 4 + [1] * 3)
    assert found.p == pytest.approx(exact, abs=4 * np.sqrt(exact / NUM_PERMUTATIONS))


def test_p_of_what_goes_together_is_the_least_there_is() -> None:
    x, _ = drawn(3, 50, 0.0)
    assert rank_correlation(x, np.exp(x), [0] * 50).p == pytest.approx(1 / (1 + NUM_PERMUTATIONS))


def test_intervals_hold_the_coefficient_in_about_95_of_100_samples() -> None:
    slope, num_samples = 0.7, 400
    large = rank_correlation(*drawn(0, 20_000, slope), [0] * 20_000).rho
    held = 0
    for seed in range(num_samples):
        x, y = drawn(1 + seed, 30, slope)
        low, high = fisher_interval(stats.spearmanr(x, y).statistic, 30)
        held += low <= large <= high
    assert 0.92 <= held / num_samples <= 0.98


def test_of_few_trials_and_of_equal_values_nothing_is_said() -> None:
    few = FEWEST_TRIALS - 1
    found = rank_correlation(range(few), range(few), [0] * few)
    assert (found.num_trials, found.rho, found.interval, found.within, found.p) == (few, None, None, None, None)
    equal = rank_correlation([1.0] * 9, range(9), [0] * 9)
    assert (equal.rho, equal.interval, equal.within, equal.p) == (None, None, None, None)
    alone = rank_correlation(range(9), range(9), range(9))  # a study for each trial
    assert (alone.rho, alone.interval, alone.within) == (pytest.approx(1), None, None)
