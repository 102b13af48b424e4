"""Class weights and shot groups."""

import numpy as np
import pytest

from ndcl.evaluation import accuracies
from ndcl.imbalance import class_weights, shot_groups
from ndcl.imbalance.shots import SHOT_GROUPS
from tests.golden_vectors import protocol_cases


@pytest.mark.parametrize("case", protocol_cases()["class_weights"], ids=lambda case: str(len(case["counts"][0])))
def test_weights_equal_the_releases(case: dict) -> None:
    assert class_weights(np.array(case["counts"]), 1.0) == pytest.approx(np.array(case["inverse_frequency"]), rel=1e-6)


def test_weights_by_hand() -> None:
    weights = class_weights(np.array([[1, 4], [9, 1]]), 0.5)
    assert weights == pytest.approx(np.array([[2 * 1 / 1.5, 2 * 0.5 / 1.5], [2 * (1 / 3) / (4 / 3), 2 / (4 / 3)]]))


@pytest.mark.parametrize("exponent", [0.0, 0.3, 1.0, 2.0])
def test_quirk_3_absent_classes_have_weight_zero_and_do_not_count(exponent: float) -> None:
    weights = class_weights(np.array([[3, 0, 12, 5], [1, 1, 1, 1]]), exponent)
    assert np.isfinite(weights).all()
    assert weights[0, 1] == 0
    assert weights.sum(axis=1) == pytest.approx([3, 4])
    without = class_weights(np.array([[3, 12, 5]]), exponent)[0]
    assert weights[0, [0, 2, 3]] == pytest.approx(without)


def test_exponent_zero_gives_exactly_one() -> None:
    counts = np.random.default_rng(0).integers(1, 500, (4, 345))
    assert (class_weights(counts, 0.0) == 1).all()


def test_frequencies_serve_as_well_as_counts() -> None:
    counts = np.array([[30, 5, 0, 65]])
    assert class_weights(counts / 100, 0.7) == pytest.approx(class_weights(counts, 0.7))


def test_groups_by_the_mean_over_sources() -> None:
    counts = np.array([[150, 100, 20, 19, 0, 0], [52, 100, 20, 20, 1, 0]])
    groups = shot_groups(counts, many_above=100, few_below=20)
    assert [SHOT_GROUPS[g] for g in groups] == ["many", "median", "median", "few", "few", "zero"]
    assert groups.dtype == np.int64


def test_quirk_28_zero_shot_means_no_image_in_any_source() -> None:
    groups = shot_groups(np.array([[0, 0], [0, 3]]), many_above=100, few_below=20)
    assert [SHOT_GROUPS[g] for g in groups] == ["zero", "few"]


@pytest.mark.parametrize("case", protocol_cases()["shot_accuracy"], ids=lambda case: str(len(case["labels"])))
def test_accuracies_by_group_equal_the_releases(case: dict) -> None:
    got = accuracies(np.array(case["labels"]), np.array(case["preds"]), np.array(case["group"]))
    for name in SHOT_GROUPS:
        members = [got.per_class[k] for k, g in enumerate(case["group"]) if SHOT_GROUPS[g] == name]
        seen = [accuracy for accuracy in members if accuracy is not None]
        assert seen == pytest.approx(case[name])
        mean = getattr(got, name)
        assert mean == (pytest.approx(np.mean(case[name])) if case[name] else None)


def test_quirk_27_a_class_that_is_only_predicted_has_no_accuracy() -> None:
    got = accuracies(np.array([0, 0]), np.array([0, 2]), np.array([1, 1, 2]))
    assert got.per_class == (0.5, None, None)
    assert got.few is None
    assert got.balanced == got.worst_class == 0.5
