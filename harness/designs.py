"""Designs: samplers whose draws are known beforehand, so that each trial's values follow from its number alone.

Kept here rather than in Optuna's samplers of these names, which keep their place in their store: a lost store, or a
condition on a parameter, makes those repeat or leave out points.
"""

from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from harness.space import at_position, grid, in_order, is_active

if TYPE_CHECKING:
    from harness.plan_studies import StudyPlan


def design_values(study: "StudyPlan", number: int) -> dict[str, Any] | None:
    """All values of the study's search trial `number`, or None if the study's sampler is no design."""
    if study.sampler == "grid":
        return next(islice(grid(study.space, study.fixed), number, None), None)
    if study.sampler == "qmc":
        return _active(study, at_position(study.space, _point(study, number)))
    return None


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
