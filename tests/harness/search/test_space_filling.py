"""Values that follow from a trial's number: grids and quasi-random points, also under conditions."""

from collections import Counter
from typing import Any

import pytest

from harness.config.parameters import ChoiceParameter, FloatParameter, IntParameter
from harness.config.space import grid
from harness.search.space_filling import design_values, num_startup
from ndcl.errors import UserError
from tests.made.made_records import RATE, study

MODE, MIXUP, ALPHA = "algorithm.mixup_mode", "algorithm.mixup", "algorithm.alpha"


def choice(*choices: Any, **more: Any) -> ChoiceParameter:
    return ChoiceParameter(type="choice", choices=choices, **more)


CONDITIONAL = {
    MIXUP: FloatParameter(type="float", low=0.1, high=0.3, step=0.1, when={MODE: ["rev"]}),
    MODE: choice("rev", "set"),
    "batch_size": IntParameter(type="int", low=4, high=8, step=4),
}


def test_a_grid_holds_every_combination_once_and_nothing_that_is_not_active() -> None:
    combinations = list(grid(CONDITIONAL, {}))
    assert len(combinations) == 2 * (3 + 1)
    assert Counter(values[MODE] for values in combinations) == {"rev": 6, "set": 2}
    assert all((MIXUP in values) == (values[MODE] == "rev") for values in combinations)
    assert len({tuple(sorted(values.items())) for values in combinations}) == len(combinations)
    assert sorted({round(values[MIXUP], 9) for values in combinations if MIXUP in values}) == [0.1, 0.2, 0.3]


def test_a_condition_on_a_fixed_value_is_looked_up_there() -> None:
    space = {MIXUP: choice(0.1, 0.2, when={MODE: "rev"})}
    assert list(grid(space, {MODE: "rev"})) == [{MIXUP: 0.1}, {MIXUP: 0.2}]
    assert list(grid(space, {MODE: "set"})) == [{}]


def test_a_grid_of_endlessly_many_values_is_refused() -> None:
    with pytest.raises(UserError, match=r"space\.optimizer\.learning_rate: a grid needs a finite list"):
        list(grid(study().space, {}))


def test_the_grid_goes_by_number() -> None:
    plan = study(sampler="grid", space=CONDITIONAL)
    assert [design_values(plan, number) for number in range(8)] == list(grid(CONDITIONAL, plan.fixed))
    assert design_values(plan, 8) is None


def test_quasi_random_points_spread_over_ranges_and_choices() -> None:
    space = {
        RATE: FloatParameter(type="float", low=1e-4, high=1e-2, log=True),
        ALPHA: FloatParameter(type="float", low=0, high=1),
        "batch_size": IntParameter(type="int", low=1, high=8, log=True),
        "resampling_ratio": choice(None, 1, 10, 100),
    }
    plan = study(sampler="qmc", space=space)
    drawn = [design_values(plan, number) for number in range(64)]
    assert all(values is not None and space.keys() == values.keys() for values in drawn)
    values = [value for value in drawn if value is not None]
    for key, parameter in space.items():
        assert all(parameter.accepts(value[key]) for value in values)
    # Sobol points fill each quarter of an axis evenly, which random ones would hardly.
    assert Counter(v["resampling_ratio"] for v in values) == {None: 16, 1: 16, 10: 16, 100: 16}
    assert Counter(int(v[ALPHA] * 4) for v in values) == {0: 16, 1: 16, 2: 16, 3: 16}
    assert sum(v[RATE] < 1e-3 for v in values) == 32, "the logarithm is drawn evenly"
    assert Counter(v["batch_size"] for v in values)[1] > Counter(v["batch_size"] for v in values)[8] > 0


def test_quasi_random_points_depend_on_number_and_seed_alone() -> None:
    plan, other = study(sampler="qmc"), study(sampler="qmc", seed=1)
    forwards = [design_values(plan, number) for number in range(4)]
    assert [design_values(plan, number) for number in (3, 2, 1, 0)] == forwards[::-1]
    assert [design_values(other, number) for number in range(4)] != forwards


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes"])
def test_samplers_that_learn_start_from_quasi_random_points(sampler: str) -> None:
    plan, even = study(sampler=sampler, num_trials=12), study(sampler="qmc", num_trials=12)
    assert [design_values(plan, number) for number in range(4)] == [design_values(even, number) for number in range(4)]
    assert design_values(plan, 4) is None
    assert [num_startup(study(num_trials=trials)) for trials in (1, 9, 30, 900)] == [2, 3, 10, 10]


@pytest.mark.parametrize("sampler", ["random", "nsga2"])
def test_other_samplers_are_no_designs(sampler: str) -> None:
    assert design_values(study(sampler=sampler), 0) is None


@pytest.mark.parametrize(
    ("parameter", "low", "high", "outside"),
    [
        (FloatParameter(type="float", low=0.5, high=2, log=True), 0.5, 2.0, (0.4, 2.1, "1", True)),
        (FloatParameter(type="float", low=0, high=1, step=0.25), 0, 1.0, (0.3, 1.25)),
        (IntParameter(type="int", low=2, high=9, log=True), 2, 9, (1, 10, 2.5, True)),
        (IntParameter(type="int", low=2, high=8, step=3), 2, 8, (3, 11)),
        (choice("a", None), "a", None, ("b",)),
    ],
)
def test_positions_reach_both_ends_and_nothing_else(parameter: Any, low: Any, high: Any, outside: Any) -> None:
    positions = [parameter.at(k / 1000) for k in range(1000)]
    assert positions[0] == low
    assert positions[-1] == pytest.approx(high, rel=0.01) if isinstance(high, float) else positions[-1] == high
    assert all(parameter.accepts(value) for value in positions)
    assert not any(parameter.accepts(value) for value in outside)
