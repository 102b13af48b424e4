"""Schedulers that can't do anything within a trial, and mistakes in their keys: each one line."""

from typing import Any

import pytest
from pydantic import ValidationError

from harness.config.search import SchedulerConfig
from harness.config.strict import first_error
from harness.plan.checks import check_studies
from ndcl.errors import UserError
from tests.made.made_records import base, study


def refusal(num_steps: int = 8, **scheduler: Any) -> str:
    """Why a study that evaluates every two steps is refused."""
    with pytest.raises(UserError) as caught:
        check_studies([study(scheduler=SchedulerConfig(**scheduler), base=base(num_steps=num_steps))])
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        ({"name": "asha", "min_resource": 5}, "min_resource: 5 is more than the 4 evaluations of a trial, so nothing"),
        ({"name": "asha", "mode": "promote", "min_resource": 5}, "min_resource: 5 is more than the 4 evaluations"),
        ({"name": "asha", "mode": "promote", "min_resource": 4}, "min_resource: 4 leaves no rung before the end of a"),
        ({"name": "hyperband", "min_resource": 2}, "with min_resource 2 and reduction_factor 3 hyperband has one brac"),
        ({"name": "hyperband", "mode": "promote", "reduction_factor": 5}, "reduction_factor 5 hyperband has one brack"),
    ],
)
def test_a_scheduler_without_rungs_or_brackets_is_refused(scheduler: dict[str, Any], message: str) -> None:
    assert message in refusal(**scheduler)


@pytest.mark.parametrize(
    "scheduler",
    [
        {"name": "asha", "min_resource": 4},  # as ever
        {"name": "asha", "mode": "promote", "min_resource": 3},
        {"name": "hyperband", "reduction_factor": 4},
        {"name": "hyperband", "mode": "promote", "min_resource": 2, "reduction_factor": 2},
    ],
)
def test_what_fits_is_taken(scheduler: dict[str, Any]) -> None:
    check_studies([study(scheduler=SchedulerConfig(**scheduler), base=base(num_steps=8))])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "hyperband", "reduction_factor": 1}, "reduction_factor: "),
        ({"name": "asha", "mode": "pause"}, "mode: "),
        ({"name": "hyperband", "modes": "stop"}, "modes: unknown key; did you mean 'mode'?"),
    ],
)
def test_a_wrong_value_names_its_key(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SchedulerConfig.model_validate(values)
    line = first_error(caught.value, values)
    assert line.startswith(message)
    assert "\n" not in line


@pytest.mark.parametrize("sampler", ["gp", "cmaes", "nsga2"])
def test_a_sampler_that_learns_from_finished_trials_alone_is_refused_with_promotion(sampler: str) -> None:
    promote = SchedulerConfig(name="asha", mode="promote")
    wide = base(num_steps=20)
    with pytest.raises(UserError, match=f"mode: promote leaves sampler {sampler} few trials .* take sampler tpe"):
        check_studies([study(scheduler=promote, sampler=sampler, base=wide)])
    for other in (study(scheduler=promote, sampler="tpe", base=wide), study(sampler=sampler, base=wide)):
        check_studies([other])


def test_a_population_of_one_is_refused_where_something_is_searched() -> None:
    """A study without a space has one trial whatever the sweep says."""
    pbt = SchedulerConfig(name="pbt")
    with pytest.raises(UserError, match="with 1 trial scheduler pbt has nothing to exchange"):
        check_studies([study(scheduler=pbt, num_trials=1, base=base(num_steps=8))])
    check_studies([study(scheduler=pbt, num_trials=1, space={}, base=base(num_steps=8))])
