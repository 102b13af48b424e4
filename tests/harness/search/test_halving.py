"""Successive halving: as Optuna's own where nothing is disturbed, and the same again where that one forgets."""

import math
import random

import optuna
import pytest
from optuna.pruners import SuccessiveHalvingPruner
from optuna.trial import TrialState

from harness.search.halving import HalvingPruner


def new_study(pruner: optuna.pruners.BasePruner) -> optuna.Study:
    return optuna.create_study(direction="maximize", pruner=pruner)


def judged(study: optuna.Study, reports: list[list[float]]) -> list[int | None]:
    """Where each trial is stopped, all trained side by side and reporting every 2 steps."""
    stopped: list[int | None] = [None] * len(reports)
    trials = [study.ask() for _ in reports]
    for position in range(len(reports[0])):
        for number, trial in enumerate(trials):
            if stopped[number] is None:
                step = 2 * (position + 1)
                trial.report(reports[number][position], step)
                stopped[number] = step if trial.should_prune() else None
    return stopped


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("min_steps", [2, 4])
def test_it_stops_the_same_trials_as_optunas(factor: int, min_steps: int) -> None:
    draw = random.Random(factor * min_steps)
    reports = [[draw.choice((math.nan, *(draw.random() for _ in range(19)))) for _ in range(18)] for _ in range(30)]
    ours = judged(new_study(HalvingPruner(min_steps=min_steps, reduction_factor=factor)), reports)
    theirs = judged(new_study(SuccessiveHalvingPruner(min_resource=min_steps, reduction_factor=factor)), reports)
    assert ours == theirs
    assert len(set(ours)) > 2


def test_who_asks_again_gets_the_same_answer() -> None:
    for pruner, again in (
        (HalvingPruner(min_steps=2, reduction_factor=2), True),
        (SuccessiveHalvingPruner(min_resource=2, reduction_factor=2), False),
    ):
        study = new_study(pruner)
        judged(study, [[0.9]])
        weak = study.ask()
        weak.report(0.1, 2)
        assert weak.should_prune() is True
        assert weak.should_prune() is again


def test_a_storage_built_anew_from_the_reports_judges_alike() -> None:
    study = new_study(HalvingPruner(min_steps=2, reduction_factor=2))
    study.add_trial(optuna.trial.create_trial(state=TrialState.COMPLETE, value=0.9, intermediate_values={2: 0.9}))
    assert judged(study, [[0.1], [0.95]]) == [2, None]


def test_the_first_at_a_rung_goes_on_and_equals_too() -> None:
    study = new_study(HalvingPruner(min_steps=2, reduction_factor=3))
    assert judged(study, [[0.1], [0.1], [0.1], [0.0]]) == [None, None, None, 2]
