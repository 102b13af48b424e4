"""No two search trials of a study with the same values: trials are deterministic, so the second would teach nothing.

Optuna's samplers may draw values that the study already has: wherever there are few to choose from, NSGA-II also where
a child inherits all from one parent, and the Gaussian process at a bound that is the best it knows.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from harness.config import Space
from harness.config.space import in_order, is_active

REDRAWS = 1
"""So many times the sampler is asked again. NSGA-II then gives another child, but the Gaussian process all but always
the same values, after as long a computation."""
RANDOM_DRAWS = 1000
"""So many times values are then drawn at random. If all of these have been tried already, then there is most likely
nothing left to try, and the last are tried again."""


class NoRepeatSampler(optuna.samplers.BaseSampler):
    """Draws all values of a trial by another sampler, and again while the study has a trial with the same.

    Where the sampler insists, values are drawn evenly over the space (over the logarithm, where that is searched): a
    model that knows nothing better than what it knows already has nothing to say on where to look instead.
    """

    def __init__(
        self,
        sampler: optuna.samplers.BaseSampler,
        space: Space,
        fixed: Mapping[str, Any],
        seed: int,
        seen: Callable[[Study], Study] | None = None,
    ) -> None:
        """`seen` gives the study from which the sampler is to learn in place of the one that it draws for."""
        self._seen = seen
        self._sampler, self._space, self._fixed = sampler, in_order(space), fixed
        self._random = np.random.default_rng(seed)
        self._distributions = {key: parameter.distribution() for key, parameter in self._space.items()}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All parameters, since `sample_relative` gives values to all that are active."""
        return self._distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The values of all parameters that are active in the trial."""
        tried = [other.params for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        given = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        for draw in range(1 + REDRAWS + RANDOM_DRAWS):
            value_of = self._drawing(study, trial) if draw <= REDRAWS else self._at_random
            values = self._values(given, value_of)
            if values not in tried:
                break
        return values

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As the other sampler: for a value out of range, as one of a range that has changed."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """As the other sampler."""
        self._sampler.reseed_rng()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """As the other sampler."""
        self._sampler.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """As the other sampler."""
        self._sampler.after_trial(study, trial, state, values)

    def _values(self, given: Mapping[str, Any], value_of: Callable[[str], Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, parameter in self._space.items():
            if is_active(parameter, values, self._fixed):
                values[key] = given[key] if key in given else value_of(key)
        return values

    def _drawing(self, study: Study, trial: FrozenTrial) -> Callable[[str], Any]:
        """Draw by the other sampler: what it draws together, and each other value when it is asked for."""
        if self._seen is not None:  # TPE also takes notes on the trial, in the study that it is given
            study = self._seen(study)
            trial = study.get_trials(deepcopy=False)[trial.number]
        space = self._sampler.infer_relative_search_space(study, trial)
        together = self._sampler.sample_relative(study, trial, space)

        def value_of(key: str) -> Any:
            distribution = self._distributions[key]
            if key in together:
                return together[key]
            if distribution.single():
                return self._space[key].at(0.0)
            return self._sampler.sample_independent(study, trial, key, distribution)

        return value_of

    def _at_random(self, key: str) -> Any:
        return self._space[key].at(self._random.random())
