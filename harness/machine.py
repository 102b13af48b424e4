"""What this machine has, and how many of a sweep's trials fit on it, without starting Ray."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.local_ray import concurrency
from harness.workers import trials_at_once
from ndcl.errors import UserError

if TYPE_CHECKING:
    from harness.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a sweep fits this machine."""

    max_concurrent: int
    """Trials at once; 0 if not even one fits."""
    problem: str | None
    """Why none fits, in one line."""


def fit(plan: "Plan") -> Fit:
    """How many of the plan's trials this machine runs at once."""
    needed = {"CPU": plan.cpus_per_trial, "GPU": plan.gpus_per_trial}
    available = {"CPU": float(os.cpu_count() or 1), "GPU": _num_gpus() if plan.gpus_per_trial else 0.0}
    try:
        if plan.workers is not None:
            return Fit(max_concurrent=trials_at_once(plan.workers, [available], plan.max_concurrent), problem=None)
        return Fit(max_concurrent=concurrency(available, needed, plan.max_concurrent), problem=None)
    except UserError as error:
        return Fit(max_concurrent=0, problem=str(error))


def _num_gpus() -> float:
    import torch  # takes seconds, which a plan without GPUs need not wait

    return float(torch.cuda.device_count())
