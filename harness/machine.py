"""What this machine has, and how many of a sweep's trials fit on it, without starting Ray."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.local_ray import concurrency
from harness.records import Stage
from harness.workers import Occupied, trials_at_once
from ndcl.errors import UserError

if TYPE_CHECKING:
    from harness.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a sweep fits this machine."""

    at_once: Mapping[Stage, int] | None
    """Trainings of each stage at once; None if of one not even one fits."""
    problem: str | None
    """Why none fits, in one line."""


def fit(plan: "Plan") -> Fit:
    """How many of the plan's trials this machine runs at once."""
    available = {"CPU": float(os.cpu_count() or 1), "GPU": _num_gpus() if plan.takes_gpus else 0.0}
    try:
        stages = [stage for phase in plan.phases for stage in phase]
        return Fit(at_once={stage: at_once(plan.occupied[stage], [available]) for stage in stages}, problem=None)
    except UserError as error:
        return Fit(at_once=None, problem=str(error))


def at_once(occupied: Occupied, nodes: Sequence[Mapping[str, float]]) -> int:
    """How many such trainings run at once on nodes with these resources. Raises UserError if none fits."""
    if occupied.workers is not None:
        return trials_at_once(occupied.workers, nodes, occupied.max_concurrent, occupied.key)
    available = sum(map(Counter, nodes), Counter[str]())
    return concurrency(available, occupied.needed, occupied.max_concurrent, occupied.key)


def _num_gpus() -> float:
    import torch  # takes seconds, which a plan without GPUs need not wait

    return float(torch.cuda.device_count())
