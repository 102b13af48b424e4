"""Records as Optuna's trials."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from harness.config.space import suggest
from harness.records import TrialRecord, best_checkpoint
from harness.records.selection import merit, value_of

if TYPE_CHECKING:
    from harness.plan import StudyPlan

NAME = "name"
"""The user attribute of an Optuna trial that holds its record's name."""
OPTUNA_STATES = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


def number_of(trial: optuna.trial.FrozenTrial) -> int:
    """The number of the trial's record, which a lost or cut off store's own numbers may differ from."""
    return int(trial.user_attrs[NAME].rpartition("-")[2])


def frozen_trial(plan: "StudyPlan", record: TrialRecord) -> optuna.trial.FrozenTrial:
    """Optuna's form of a search record, which may have ended or not."""
    fixed = optuna.trial.FixedTrial(record.values)
    suggest(fixed, plan.space, plan.fixed)
    state, values = outcome(record, plan)
    return optuna.trial.create_trial(
        state=state,
        values=values,
        params=fixed.params,
        distributions=fixed.distributions,
        user_attrs={NAME: record.name},
        intermediate_values={e["step"]: reported(e, plan) for e in reports(plan, record)},
    )


def reports(plan: "StudyPlan", record: TrialRecord) -> tuple[dict[str, Any], ...]:
    """What Optuna receives of a trial that runs: it takes reports for one objective only."""
    return record.evaluations if len(plan.objectives) == 1 else ()


def study_in_memory(plan: "StudyPlan", records: Iterable[TrialRecord]) -> optuna.Study:
    """A study of these search records, without any storage, for what Optuna can tell of it."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["maximize"] * len(plan.objectives))
    study.add_trials([frozen_trial(plan, record) for record in records])
    return study


def reported(evaluation: dict[str, Any], plan: "StudyPlan") -> float:
    """What is maximised, at one evaluation; NaN, which is the worst, where there is none."""
    value = merit(evaluation, plan.objectives)
    return value if math.isfinite(value) else math.nan


def outcome(record: TrialRecord, plan: "StudyPlan") -> tuple[TrialState, list[float] | None]:
    """Optuna's state of a record, and the values of one that has finished; of one that has none it learns nothing."""
    state = OPTUNA_STATES.get(record.state, TrialState.RUNNING)
    if state != TrialState.COMPLETE:
        return state, None
    values = best_values(record, plan)
    return (state, values) if all(map(math.isfinite, values)) else (TrialState.FAIL, None)


def best_values(record: TrialRecord, plan: "StudyPlan") -> list[float]:
    """The objectives at the record's best checkpoint, which is the one that the selection takes."""
    best = best_checkpoint(record)
    return [math.nan if best is None else value_of(best, name) for name in plan.objectives]
