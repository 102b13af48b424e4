"""How a sampler should see trials that wait at a rung of successive halving for their promotion.

To Optuna a trial runs or has ended, and one that has ended takes no reports any more. So one that waits stays open in
its storage. But TPE takes what runs for bad (its constant liar), and has no model before enough trials have ended.
"""

from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial, TrialState

from harness.plan.rungs import rungs
from harness.search.frozen_trials import number_of

if TYPE_CHECKING:
    from harness.plan import StudyPlan


def with_paused_as_pruned(plan: "StudyPlan", study: optuna.Study) -> optuna.Study:
    """A copy in memory, in which an open trial that has come to a rung counts by its last report, as a pruned one."""
    copy = optuna.create_study(directions=study.directions)
    copy.add_trials([_seen(plan, trial) for trial in study.get_trials(deepcopy=False)])
    return copy


def _seen(plan: "StudyPlan", trial: FrozenTrial) -> FrozenTrial:
    if trial.state != TrialState.RUNNING or trial.last_step is None:
        return trial
    stops = rungs(plan, number_of(trial))
    if not stops or trial.last_step < stops[0]:
        return trial
    return optuna.trial.create_trial(
        state=TrialState.PRUNED,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=trial.user_attrs,
        system_attrs=trial.system_attrs,
        intermediate_values=trial.intermediate_values,
    )
