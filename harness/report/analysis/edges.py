"""Best values at the edge of their range: where a search would have gone on, had it been let."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.config.parameters import ChoiceParameter, FloatParameter, IntParameter
from harness.plan import StudyPlan
from harness.records import TrialRecord, select
from ndcl.errors import UserError

NEAR = 0.05
"""A value within this share of the range, of its logarithm where it is drawn so, is at the edge."""


@dataclass(frozen=True, kw_only=True)
class Edge:
    """A value of a study's best trial."""

    key: str
    end: str
    """`lower` or `upper`."""
    bound: float


def edges_of(plan: StudyPlan, study: Sequence[TrialRecord]) -> tuple[Edge, ...]:
    """Those of the selected trial of at least two, where the range could be widened: the config takes values beyond."""
    finished = [record for record in study if record.stage == "search" and record.state == "finished"]
    best = select(study)
    if not best or len(finished) < 2:
        return ()
    found = []
    for key, value in best[0].values.items():
        parameter = plan.space.get(key)
        if parameter is None or isinstance(parameter, ChoiceParameter) or parameter.low == parameter.high:
            continue
        end = _end(parameter, float(value))
        if end is not None and _is_valid(plan, best[0].values | {key: _beyond(parameter, end)}):
            found.append(Edge(key=key, end=end, bound=float(parameter.low if end == "lower" else parameter.high)))
    return tuple(found)


def _beyond(parameter: FloatParameter | IntParameter, end: str) -> float | int:
    """A value just outside of the range."""
    if isinstance(parameter, IntParameter):
        return parameter.low - 1 if end == "lower" else parameter.high + 1
    if parameter.log:
        return parameter.low * 0.99 if end == "lower" else parameter.high * 1.01
    distance = 0.01 * (parameter.high - parameter.low)
    return parameter.low - distance if end == "lower" else parameter.high + distance


def _is_valid(plan: StudyPlan, values: Mapping[str, Any]) -> bool:
    try:
        plan.train_config(values)
    except UserError:
        return False
    return True


def _end(parameter: FloatParameter | IntParameter, value: float) -> str | None:
    low, high = float(parameter.low), float(parameter.high)
    if parameter.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    position = (value - low) / (high - low)
    return "lower" if position <= NEAR else "upper" if position >= 1 - NEAR else None
