"""What this machine has, how many of a sweep's trials fit on it, and what keeps it from running them: without Ray."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.config.demand import num_at_once
from harness.records import Stage
from ndcl.architectures import is_known_weights
from ndcl.errors import UserError
from ndcl.processors import num_processors

if TYPE_CHECKING:
    from harness.plan.plan import Plan
    from harness.plan.studies import StudyPlan


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a sweep fits this machine."""

    at_once: Mapping[Stage, int] | None
    """Trainings of each stage at once; None if of one not even one fits."""
    problem: str | None
    """Why this machine can't run the sweep, in one line."""


def fit(plan: "Plan") -> Fit:
    """How many of the plan's trials this machine runs at once, and what it lacks."""
    needs_gpu = plan.takes_gpus or any(_device(study) == "cuda" for study in plan.studies)
    num_gpus = _num_gpus() if needs_gpu else 0.0
    available = {"CPU": float(num_processors()), "GPU": num_gpus}
    try:
        stages = [stage for phase in plan.phases for stage in phase]
        fitting = {stage: num_at_once(plan.occupied[stage], [available]) for stage in stages}
    except UserError as error:
        return Fit(at_once=None, problem=str(error))
    return Fit(
        at_once=fitting, problem=next((lack for study in plan.studies for lack in _lacks(study, num_gpus)), None)
    )


def require_fit(plan: "Plan") -> None:
    """Raise UserError if this machine can't run the plan's trials: what Ray would say, before it has started."""
    problem = fit(plan).problem
    if problem:
        raise UserError(f"{problem}; or run it on a cluster with --address")


def _lacks(study: "StudyPlan", num_gpus: float) -> Iterator[str]:
    """What each trial of the study would fail for on a machine of so many GPUs."""
    if _device(study) == "cuda" and not num_gpus:
        yield "train.device: 'cuda' was asked for, but torch sees no GPU; set it to auto or cpu"
    weights = study.base["model"]["weights"]
    if not is_known_weights(weights) and not Path(weights).expanduser().is_file():
        yield f"model.weights: no file '{weights}'; give imagenet, none, or the path of a state dict"


def _device(study: "StudyPlan") -> str:
    return str(study.base["device"])


def _num_gpus() -> float:
    import torch  # takes seconds, which a plan without GPUs need not wait

    return float(torch.cuda.device_count())
