"""Designs: samplers whose draws are known beforehand, so that each trial's values follow from its number alone.

Kept here rather than in Optuna's samplers of these names, which keep their place in their store: a lost store, or a
condition on a parameter, makes those repeat or leave out points.
"""

from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from harness.config.space import at_position, grid, in_order, is_active

if TYPE_CHECKING:
    from harness.plan import StudyPlan


MODELS = ("tpe", "gp", "cmaes")
"""Samplers that learn from results. They start from points spread evenly, so that no part of the space is missed."""


def design_values(study: "StudyPlan", number: int) -> dict[str, Any] | None:
    """All values of the study's search trial `number`, or None if they depend on the results of others."""
    if study.sampler == "grid":
        return next(islice(grid(study.space, study.fixed), number, None), None)
    if study.sampler == "qmc" or (study.sampler in MODELS and number < num_startup(study)):
        return _active(study, at_position(study.space, _point(study, number)))
    return None


def num_startup(study: "StudyPlan") -> int:
    """How many trials a study has before a model of its results proposes values.

    A third of a short study's, and ten of a long one's: with ten always, as in Optuna, a study of ten trials would have
    no model at all.
    """
    return max(2, min(10, study.num_trials // 3))


def _point(study: "StudyPlan", number: int) -> dict[str, float]:
    keys = sorted(study.space)
    return dict(zip(keys, _sobol(len(keys), study.seed, number), strict=True))


@lru_cache(maxsize=1024)
def _sobol(dimensions: int, seed: int, number: int) -> tuple[float, ...]:
    """Point `number` of a scrambled Sobol sequence (Owen 1998) in the unit cube."""
    from scipy.stats.qmc import Sobol  # slow to import

    sequence = Sobol(dimensions, scramble=True, rng=seed)
    if number:
        sequence.fast_forward(number)
    return tuple(float(coordinate) for coordinate in sequence.random(1)[0])


def _active(study: "StudyPlan", values: dict[str, Any]) -> dict[str, Any]:
    active: dict[str, Any] = {}
    for key, parameter in in_order(study.space).items():
        if is_active(parameter, active, study.fixed):
            active[key] = values[key]
    return active
