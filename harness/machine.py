"""What this machine has, and how many of a sweep's trials fit on it, without starting Ray."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.records import Stage
from harness.workers import at_once
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


def _num_gpus() -> float:
    import torch  # takes seconds, which a plan without GPUs need not wait

    return float(torch.cuda.device_count())
