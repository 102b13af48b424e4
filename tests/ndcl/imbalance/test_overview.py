"""The overview of a setting says what a training then really gets."""

from pathlib import Path

import numpy as np
import pytest

from ndcl.config import DataConfig, ImbalanceConfig
from ndcl.data.problem import build_problem
from ndcl.errors import UserError
from ndcl.imbalance import imbalance_ratio, overview
from tests.made.made_store import DOMAINS, make_store

AVAILABLE = np.array([[9, 3, 30], [12, 0, 8], [7, 5, 20]])


@pytest.mark.parametrize("target", DOMAINS)
def test_it_agrees_with_the_problem_that_a_training_builds(tmp_path: Path, target: str) -> None:
    store = make_store(tmp_path / "made", AVAILABLE)
    config = ImbalanceConfig(setting="natural", validation=2, many_above=15, few_below=4)
    view = overview(config, store.name, store.domains, store.classes, store.available(), target)
    problem = build_problem(DataConfig(name="made", target=target, folder=str(tmp_path)), config)
    np.testing.assert_array_equal(view.counts, problem.counts)
    np.testing.assert_array_equal(view.groups, problem.groups)
    assert view.sources == problem.source_domains
    assert view.validation.sum(axis=1).tolist() == [len(part) for part in problem.validation]
    assert view.num_test == len(problem.target_test)


def test_sums_order_and_groups_by_hand() -> None:
    config = ImbalanceConfig(setting="natural", validation=2, many_above=15, few_below=4)
    view = overview(config, "made", DOMAINS, ("a", "b", "c"), AVAILABLE, "sketch")
    assert view.counts.tolist() == [[7, 1, 28], [10, 0, 6]]
    assert view.validation.tolist() == [[2, 2, 2], [2, 0, 2]]
    assert view.totals.tolist() == [17, 1, 34]
    assert view.order.tolist() == [2, 0, 1]
    assert view.group_sizes == {"many": 1, "median": 1, "few": 1, "zero": 0}
    assert view.num_test == 7 - 2 + 5 - 2 + 20 - 2
    assert AVAILABLE[0, 0] == 9, "the caller's counts are left as they are"


def test_equal_classes_keep_their_order_and_absent_ones_are_zero_shot() -> None:
    available = np.array([[9, 9, 0, 9], [9, 9, 0, 9]])
    view = overview(ImbalanceConfig(setting="natural"), "made", ("x", "y"), tuple("abcd"), available, "x")
    assert view.order.tolist() == [0, 1, 3, 2]
    assert view.group_sizes["zero"] == 1


def test_the_ratio_is_over_classes_that_are_there() -> None:
    assert imbalance_ratio(np.array([0, 4, 10])) == 2.5
    assert imbalance_ratio(np.array([3])) == 1.0
    assert imbalance_ratio(np.zeros(3, np.int64)) is None


def test_what_a_setting_cannot_give_is_an_error() -> None:
    with pytest.raises(UserError, match=r"imbalance.ratio: 50 needs 50 training images"):
        overview(ImbalanceConfig(ratio=50), "made", DOMAINS, ("a", "b", "c"), AVAILABLE, "art")
