"""Hyperband (Li et al. 2018) as an Optuna pruner that remembers nothing: successive halving within each bracket.

Optuna's own consists of its `SuccessiveHalvingPruner`s, which forget (see `halving.py`). Unlike with Optuna's, samplers
learn from the trials of all brackets together: brackets of a short study would be too few for a model each.
"""

from collections.abc import Callable

import optuna

from harness.search.frozen_trials import NAME
from harness.search.halving import is_below_the_cut


class HyperbandPruner(optuna.pruners.BasePruner):
    """In bracket b the rungs are at `min_steps` times a power of `reduction_factor`, the lowest being the b-th.

    A trial is compared with those of its bracket that have come there before it. For studies with one objective, which
    they maximise.
    """

    def __init__(
        self, *, min_steps: int, reduction_factor: int, bracket_of: Callable[[optuna.trial.FrozenTrial], int]
    ) -> None:
        self._min_steps = min_steps
        self._reduction_factor = reduction_factor
        self._bracket_of = bracket_of

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        """Whether the trial is to be stopped at its last report."""
        bracket = self._bracket_of(trial)
        begun = [other for other in study.get_trials(deepcopy=False) if NAME in other.user_attrs]
        rivals = [other for other in begun if self._bracket_of(other) == bracket]
        first_rung = self._min_steps * self._reduction_factor**bracket
        return is_below_the_cut(trial, rivals, first_rung, self._reduction_factor)
