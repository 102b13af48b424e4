"""Typed parameters: what they accept, what they suggest, what is tried first."""

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from harness.config import Space
from harness.config.space import NEVER_SEARCHED, defaults, suggest
from ndcl.config import TrainConfig

SPACE = TypeAdapter(Space)
RATE = {"type": "float", "low": 1e-4, "high": 1e-2, "log": True, "default": 1e-3}


def space_of(**parameters: dict) -> Space:
    return SPACE.validate_python({name.replace("__", "."): value for name, value in parameters.items()})


def values_of(space: Space, num_trials: int = 30) -> list[dict]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [suggest(study.ask(), space, {}) for _ in range(num_trials)]


def test_suggestions_lie_in_range_and_have_the_type():
    space = space_of(
        a={"type": "float", "low": 1, "high": 10, "log": True},
        b={"type": "float", "low": 0, "high": 1, "step": 0.25},
        c={"type": "int", "low": 2, "high": 8, "step": 2},
        d={"type": "choice", "choices": [None, "rev", 10, 0.5, True]},
    )
    rows = values_of(space)
    assert all(1 <= row["a"] <= 10 for row in rows)
    assert {row["b"] for row in rows} == {0, 0.25, 0.5, 0.75, 1}
    assert {row["c"] for row in rows} == {2, 4, 6, 8}
    assert all(type(row["c"]) is int for row in rows)
    assert {row["d"] for row in rows} == {None, "rev", 10, 0.5, True}


def test_log_parameters_draw_magnitudes_evenly():
    rows = values_of(space_of(a={"type": "float", "low": 1e-4, "high": 1, "log": True}), num_trials=400)
    assert 0.4 < sum(row["a"] < 1e-2 for row in rows) / 400 < 0.6


def test_a_fixed_trial_is_answered_by_its_values():
    space = space_of(optimizer__learning_rate=RATE)
    assert suggest(optuna.trial.FixedTrial({"optimizer.learning_rate": 0.002}), space, {}) == {
        "optimizer.learning_rate": 0.002
    }


def test_defaults_leave_out_what_has_none_but_keep_null():
    space = space_of(
        optimizer__learning_rate=RATE,
        batch_size={"type": "int", "low": 8, "high": 45},
        resampling_ratio={"type": "choice", "choices": [None, 10, 1], "default": None},
        x={"type": "choice", "choices": [1, 2]},
    )
    assert defaults(space) == {"optimizer.learning_rate": 1e-3, "resampling_ratio": None}


def test_enqueued_defaults_are_suggested_first():
    space = space_of(optimizer__learning_rate=RATE, x={"type": "choice", "choices": [None, 1], "default": None})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(defaults(space))
    assert suggest(study.ask(), space, {}) == defaults(space)


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ({"type": "float", "low": 2, "high": 1}, "low: 2.0 is greater than high"),
        ({"type": "float", "low": 0, "high": 1, "log": True}, "low: 0.0 has no logarithm"),
        ({"type": "float", "low": 1, "high": 2, "log": True, "step": 0.5}, "step: it can't be combined with log"),
        ({"type": "int", "low": 1, "high": 9, "log": True, "step": 2}, "step: it can't be combined with log"),
        ({"type": "float", "low": 1, "high": 2, "default": 3}, "default: 3.0 is out of range; it must be from 1"),
        ({"type": "int", "low": 1, "high": 8, "step": 2}, "high: 8 is no whole number of steps of 2 above 1"),
        ({"type": "int", "low": 1, "high": 9, "step": 2, "default": 4}, "default: 4 is no whole number of steps"),
        ({"type": "float", "low": 0, "high": float("inf")}, "finite number"),
        ({"type": "int", "low": 0.5, "high": 2}, "valid integer"),
        ({"type": "choice", "choices": []}, "at least 1 item"),
        ({"type": "choice", "choices": [1, 1]}, "names a value twice"),
        ({"type": "choice", "choices": [1, 2], "default": 3}, "3 is not among the choices"),
        ({"type": "choice", "choices": [1, 2], "default": None}, "None is not among the choices"),
    ],
)
def test_impossible_parameters_are_refused(parameter, message):
    with pytest.raises(ValidationError) as caught:
        space_of(x=parameter)
    assert message in str(caught.value)


@pytest.mark.parametrize("key", NEVER_SEARCHED)
def test_the_axes_of_a_sweep_are_never_searched(key):
    for searched in (key, f"{key}.part"):
        with pytest.raises(ValidationError, match="it can't be searched"):
            SPACE.validate_python({searched: {"type": "choice", "choices": [1, 2]}})


def test_what_is_never_searched_exists_and_a_similar_name_is_free():
    fields = TrainConfig.__dataclass_fields__
    assert all(key.split(".")[0] in fields for key in NEVER_SEARCHED)
    assert space_of(seedling=RATE, database={"type": "choice", "choices": [1]})


@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-3, 1e6))
def test_probes_hold_both_ends_and_stay_inside(low, width):
    high = low + width
    probes = space_of(x={"type": "float", "low": low, "high": high})["x"].probes()
    assert {low, high} <= set(probes)
    assert all(low <= value <= high for value in probes)


def test_probes_of_whole_numbers_and_choices():
    space = space_of(n={"type": "int", "low": 1, "high": 4}, c={"type": "choice", "choices": [None, 2]})
    assert space["n"].probes() == (1, 4)
    assert space["c"].probes() == (None, 2)
