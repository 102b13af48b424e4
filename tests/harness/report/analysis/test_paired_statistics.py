"""Paired statistics against scipy, plain enumeration and a naive bootstrap."""

import itertools

import numpy as np
import pytest
from scipy import stats

from harness.report.analysis.paired_statistics import (
    SHOWN_DIFFERENT,
    bootstrap_interval,
    holm,
    least_p,
    paired_results,
    signed_rank_p,
)

CLEAR = [[0.05, 0.07, 0.06], [0.09, 0.08, 0.10], [0.04, 0.06, 0.05], [0.07, 0.06, 0.08]]
NOISE = [[0.05, -0.07, 0.01], [-0.02, 0.03, -0.01], [0.04, -0.06, 0.03], [0.01, -0.02, 0.02]]


def result_of(differences, **others):
    return paired_results({"own": differences, **others})["own"]


def swapped(differences):
    return [[-value for value in pairs] for pairs in differences]


# The interval


def naive_interval(differences, over_targets, num_resamples=4000):
    rng = np.random.default_rng(5)
    means = []
    for _ in range(num_resamples):
        drawn = range(len(differences))
        if over_targets:
            drawn = rng.integers(len(differences), size=len(differences) - 1)
        samples = [rng.choice(differences[t], len(differences[t]) - 1) for t in drawn]
        means.append(np.mean([sample.mean() for sample in samples]))
    return np.percentile(means, [2.5, 97.5])


@pytest.mark.parametrize("over_targets", [False, True])
def test_interval_is_that_of_a_naive_bootstrap(over_targets):
    rng = np.random.default_rng(0)
    differences = [list(rng.normal(0.1 * t, 0.02, size=n)) for t, n in enumerate((5, 3, 4, 6))]
    interval = bootstrap_interval(differences, over_targets=over_targets)
    assert interval == pytest.approx(naive_interval(differences, over_targets), abs=0.006 if over_targets else 0.001)


def test_interval_has_the_width_of_the_standard_error():
    """With n instead of n - 1 draws it would be narrower by the root of 2/3."""
    rng = np.random.default_rng(1)
    differences = rng.normal(0, 1, size=(40, 3))
    error = np.sqrt((differences.var(axis=1, ddof=1) / 3).sum()) / 40
    low, high = bootstrap_interval(differences.tolist())
    assert (high - low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.03)


def test_target_domains_weigh_the_same_whatever_their_number_of_pairs():
    assert bootstrap_interval([[1.0] * 2, [0.0] * 8]) == pytest.approx((0.5, 0.5))


def test_resampling_targets_widens_the_interval_where_they_disagree():
    differences = [[0.30, 0.31, 0.29], [0.01, 0.00, -0.01], [0.02, 0.01, 0.00]]
    low, high = bootstrap_interval(differences)
    wide_low, wide_high = bootstrap_interval(differences, over_targets=True)
    assert low > 0.09 > 0.02 > wide_low
    assert wide_high > 0.2 > 0.12 > high


def test_no_interval_where_there_is_nothing_to_resample():
    assert bootstrap_interval([[0.1, 0.2], [0.1]]) is None
    assert bootstrap_interval([[0.1, 0.2], [0.1, 0.3]], over_targets=True) is None
    assert bootstrap_interval([[0.1, 0.2]]) is not None


# The rank test


def test_p_without_ties_is_scipys_exact_one():
    differences = np.random.default_rng(2).normal(0.3, 1, size=15)
    assert signed_rank_p(differences) == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)
    many = np.random.default_rng(3).normal(0.1, 1, size=60)
    assert signed_rank_p(many) == pytest.approx(stats.wilcoxon(many, method="exact").pvalue)


def enumerated_p(differences):
    """Two-sided: all signs are equally likely; ties share their mean rank, zeros are left out."""
    present = [d for d in differences if d != 0]
    ranks = stats.rankdata(np.abs(present))
    centre = ranks.sum() / 2
    observed = abs(sum(rank for rank, d in zip(ranks, present, strict=True) if d > 0) - centre)
    sums = [np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=len(present))]
    return np.mean([abs(total - centre) >= observed - 1e-9 for total in sums])


@pytest.mark.parametrize(
    "differences",
    [
        [0.01, 0.02, -0.01, 0.03, 0.02, 0.05, 0.02],
        [0.01, 0.0, 0.01, 0.03, -0.02, 0.0, 0.04, 0.01],
        [0.01] * 6,
        [0.02, 0.05, -0.03],
    ],
)
def test_p_with_ties_and_zeros_is_the_enumerated_one(differences):
    assert signed_rank_p(np.array(differences)) == pytest.approx(enumerated_p(differences))


def test_equal_differences_are_ties_although_floats_differ():
    differences = [0.3 - 0.2, 0.2 - 0.1, 0.5 - 0.4, 0.9 - 0.8, 0.1 - 0.2, 0.7 - 0.6, 0.05]
    assert len(set(differences)) > 3
    assert result_of([differences]).p == pytest.approx(enumerated_p(np.round(differences, 6)))


def test_without_any_difference_p_is_1():
    result = result_of([[0.0] * 3] * 4)
    assert (result.p, result.interval, result.verdict) == (1.0, (0.0, 0.0), "within noise")


def test_the_least_p_is_that_of_all_signs_alike():
    for n in range(1, 9):
        assert least_p(n) == pytest.approx(enumerated_p(range(1, n + 1)))


# Several contrasts


def test_holm_by_hand():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({"a": 0.6, "b": 0.7}) == pytest.approx({"a": 1, "b": 1})
    assert holm({}) == {}


def test_p_is_corrected_for_the_contrasts_of_the_family():
    alone, together = result_of(CLEAR), result_of(CLEAR, noise=NOISE, other=NOISE)
    assert together.p == alone.p == alone.p_corrected
    assert together.p_corrected == pytest.approx(3 * alone.p)
    assert together.interval == alone.interval


# The verdict


def test_a_true_difference_is_found_and_noise_is_not():
    assert result_of(CLEAR).verdict == "higher"
    assert result_of(NOISE).verdict == "within noise"


def test_swapping_the_algorithms_flips_every_sign():
    for differences in (CLEAR, NOISE):
        one, other = result_of(differences), result_of(swapped(differences))
        assert one.p == other.p
        assert one.interval == pytest.approx([-bound for bound in reversed(other.interval)])
        assert one.interval_over_targets == pytest.approx([-bound for bound in reversed(other.interval_over_targets)])
    assert result_of(swapped(CLEAR)).verdict == "lower"


def test_both_the_interval_and_the_test_must_agree():
    lopsided = [[-0.01, -0.01, 0.5, 0.5], [-0.01, -0.01, 0.5, 0.5]]
    result = result_of(lopsided)
    assert result.interval[0] > 0
    assert result.p_corrected > 0.05
    assert result.verdict == "not significant"


@pytest.mark.parametrize(("num_pairs", "verdict"), [(5, "too few pairs"), (6, "higher")])
def test_fewer_than_six_pairs_never_show_a_difference(num_pairs, verdict):
    assert result_of([[0.3 + 0.01 * i for i in range(num_pairs)]]).verdict == verdict


def test_more_contrasts_need_more_pairs():
    six = [[0.3, 0.31, 0.32], [0.33, 0.34, 0.35]]
    assert result_of(six).verdict == "higher"
    assert result_of(six, other=six).verdict == "too few pairs"


def test_a_single_seed_shows_nothing_however_many_targets():
    result = result_of([[0.1]] * 8)
    assert (result.interval, result.verdict, result.num_pairs) == (None, "too few pairs", 8)


def test_under_no_difference_few_are_found():
    """The rule's rate of false alarms on 4 target domains with 3 seeds each; the level is 0.05."""
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(200):
        differences = rng.normal(0, 0.02, size=(4, 3))
        found += result_of(differences.tolist()).verdict in SHOWN_DIFFERENT
    assert found <= 18  # 0.05 x 200, and two and a half deviations
