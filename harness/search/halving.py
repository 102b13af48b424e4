"""Asynchronous successive halving (ASHA; Li et al. 2020) as an Optuna pruner that remembers nothing.

Optuna's own pruner marks a trial when it judges it, and does not judge it there again: a trial that was killed between
the judgement and its end would continue to the next rung, and a storage that was built anew would have lost all marks.
Here everything follows from the reports. What was decided stands although others come later: a `StudySearch` keeps it.
"""

import math
from collections.abc import Iterable

import optuna


class HalvingPruner(optuna.pruners.BasePruner):
    """At each rung, a step of `min_steps` times a power of `reduction_factor`, one in `reduction_factor` continues.

    A trial is compared with those that have come there before it. For studies that maximise one objective.
    """

    def __init__(self, *, min_steps: int, reduction_factor: int) -> None:
        self._min_steps = min_steps
        self._reduction_factor = reduction_factor

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        """Whether the trial is to be stopped at its last report."""
        return is_below_the_cut(trial, study.get_trials(deepcopy=False), self._min_steps, self._reduction_factor)


def is_below_the_cut(
    trial: optuna.trial.FrozenTrial,
    rivals: Iterable[optuna.trial.FrozenTrial],
    first_rung: int,
    reduction_factor: int,
) -> bool:
    """Whether the trial's last report is at a rung, and there not among the best one in `reduction_factor`."""
    step = trial.last_step
    if step is None or not _is_rung(step, first_rung, reduction_factor):
        return False
    value = trial.intermediate_values[step]
    reports = [other.intermediate_values.get(step, math.nan) for other in rivals]
    others = sorted((report for report in reports if not math.isnan(report)), reverse=True)
    num_promoted = max(1, len(others) // reduction_factor)
    return math.isnan(value) or value < others[num_promoted - 1]


def _is_rung(step: int, first_rung: int, reduction_factor: int) -> bool:
    rung = first_rung
    while rung < step:
        rung *= reduction_factor
    return rung == step
