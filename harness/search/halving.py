"""Asynchronous successive halving (ASHA; Li et al. 2020) as an Optuna pruner that remembers nothing.

Optuna's own pruner marks a trial when it judges it, and does not judge it there again: a trial that was killed between
the judgement and its end would continue to the next rung, and a storage that was built anew would have lost all marks.
Here everything follows from the reports, so that whoever asks again gets the same answer.
"""

import math

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
        step = trial.last_step
        if step is None or not self._is_rung(step):
            return False
        value = trial.intermediate_values[step]
        reports = [other.intermediate_values.get(step, math.nan) for other in study.get_trials(deepcopy=False)]
        others = sorted((report for report in reports if not math.isnan(report)), reverse=True)
        num_promoted = max(1, len(others) // self._reduction_factor)
        return math.isnan(value) or value < others[num_promoted - 1]

    def _is_rung(self, step: int) -> bool:
        rung = self._min_steps
        while rung < step:
            rung *= self._reduction_factor
        return rung == step
