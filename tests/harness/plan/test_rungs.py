"""Rungs and brackets: the numbers of the paper and of Optuna, and the shares of short studies."""

from typing import Any

import optuna
import pytest

from harness.config.search import SchedulerConfig
from harness.plan import StudyPlan
from harness.plan.rungs import bracket_of, bracket_sizes, least_steps, num_brackets, rungs
from tests.made.made_records import base, study


def halving(name: Any = "hyperband", *, num_steps: int = 54, num_trials: int = 17, **changes: Any) -> StudyPlan:
    """A study that evaluates every two steps."""
    scheduler = SchedulerConfig(name=name, **changes)
    return study(scheduler=scheduler, base=base(num_steps=num_steps), num_trials=num_trials)


def test_brackets_have_the_sizes_of_the_papers_first_table() -> None:
    assert bracket_sizes(5, 3) == (81, 34, 15, 8, 5)
    made = halving(num_steps=2 * 81)
    assert num_brackets(made) == 5
    assert rungs(made, 0) == (2, 6, 18, 54)


@pytest.mark.parametrize(("min_resource", "factor", "evaluations"), [(1, 3, 27), (1, 3, 26), (2, 2, 50), (3, 4, 100)])
def test_brackets_are_as_many_and_as_large_as_optunas(min_resource: int, factor: int, evaluations: int) -> None:
    made = halving(num_steps=2 * evaluations, min_resource=min_resource, reduction_factor=factor)
    theirs = optuna.pruners.HyperbandPruner(
        min_resource=min_resource, max_resource=evaluations, reduction_factor=factor
    )
    theirs._try_initialization(optuna.create_study())
    assert num_brackets(made) == theirs._n_brackets
    assert list(bracket_sizes(num_brackets(made), factor)) == theirs._trial_allocation_budgets


def test_each_beginning_of_a_study_has_the_brackets_in_their_shares() -> None:
    made, sizes = halving(), bracket_sizes(4, 3)
    assert (num_brackets(made), sizes) == (4, (27, 12, 6, 4))
    numbers = [bracket_of(made, number) for number in range(2 * sum(sizes))]
    for count in range(1, len(numbers) + 1):
        for bracket, size in enumerate(sizes):
            assert abs(numbers[:count].count(bracket) - count * size / sum(sizes)) < 1
    assert set(numbers[:6]) >= {0, 1, 2}


def test_rungs_lie_before_the_end_and_begin_higher_in_later_brackets() -> None:
    made = halving()
    by_bracket = {bracket_of(made, number): rungs(made, number) for number in range(49)}
    assert by_bracket == {0: (2, 6, 18), 1: (6, 18), 2: (18,), 3: ()}
    assert rungs(halving("asha", min_resource=2, num_steps=50), 0) == (4, 12, 36)
    assert rungs(halving("asha", num_steps=5), 0) == (2,), "its third evaluation is the last, at step 5"
    assert rungs(halving("median"), 0) == rungs(halving("pbt"), 0) == ()


def test_the_least_that_trials_take() -> None:
    assert least_steps(halving("asha")) == [54, *[2] * 16]
    assert least_steps(halving("asha", mode="promote")) == [54, *[6] * 4, *[2] * 12]
    assert least_steps(halving("asha", mode="promote", num_trials=27)) == [54, 18, 18, *[6] * 6, *[2] * 18]
    brackets = [bracket_of(halving(), number) for number in range(17)]
    assert [brackets.count(bracket) for bracket in range(4)] == [9, 4, 2, 2]
    assert least_steps(halving()) == [54] * 5 + [18] + [6] * 3 + [2] * 8
    assert least_steps(halving(mode="promote")) == [54] * 5 + [18] + [6] * 5 + [2] * 6
