"""How a sweep was run, as the appendix of a paper tells it: search, seeds, versions, hardware."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.config.parameters import Parameter
from harness.plan import StudyPlan
from harness.plan.rungs import promotes
from harness.records import TrialRecord

EVERY = "every algorithm"
"""Stands for all of them, in a search space."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What the plan and the records tell; a host's name is not among it, so that a paper stays anonymous."""

    plan: Mapping[str, tuple[str, ...]]
    """By what is told, its values over the studies; empty where the plan is not known."""
    versions: Mapping[str, tuple[str, ...]]
    """Of code and libraries, over the trainings."""
    hardware: Mapping[str, tuple[str, ...]]
    spaces: Mapping[str, Mapping[str, tuple[Parameter, ...]]]
    """By algorithm, EVERY first, and dotted key: the parameter, or the several that its studies have."""


def protocol_of(records: Sequence[TrialRecord], plan: Sequence[StudyPlan]) -> Protocol:
    """Of the trainings among the `records`, and the studies of the `plan`."""
    environments = [record.environment for record in records if record.is_training and record.environment]
    return Protocol(
        plan=_known(_columns(map(_told, plan))),
        versions=_known(_columns(map(_versions, environments))),
        hardware=_known(_columns(map(_hardware, environments))),
        spaces=_spaces(plan),
    )


def _told(study: StudyPlan) -> dict[str, Any]:
    """What an appendix tells of a study, whatever it is called with."""
    look, searched = study.second_look, dict.fromkeys(study.space, "searched")
    train = study.fixed | searched
    return {
        "search trials of a study": study.num_trials,
        "sampler": study.sampler,
        "seed of the sampler": study.seed,
        "scheduler": f"{study.scheduler.name}, by promotion" if promotes(study) else study.scheduler.name,
        "selection by": " and ".join(study.objectives),
        "second look": look and f"{look.by}, {look.among} trials",
        "seeds of the final runs": ", ".join(map(str, study.final_seeds)),
        **{name: train[key] for name, key in TRAINING.items()},
    }


TRAINING = {
    "optimiser steps": "num_steps",
    "steps between evaluations": "evaluate_every",
    "images of a source domain in a batch": "batch_size",
    "backbone": "model.backbone",
    "weights at the start": "model.weights",
    "optimiser": "optimizer.name",
    "precision": "precision",
}
"""What is told of every training, and its key."""


def _versions(environment: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "python": environment.get("python"),
        **environment.get("packages", {}),
        "CUDA": environment.get("cuda"),
        "git revision": environment.get("git_revision"),
        "digest of the data": environment.get("data", {}).get("digest"),
    }


def _hardware(environment: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "GPU": environment.get("gpu") or ("none" if "gpu" in environment else None),
        "CPU threads of a training": environment.get("cpu_threads"),
        "platform": environment.get("platform"),
    }


def _columns(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """By name, the values of all rows."""
    found: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    return found


def _known(values: Mapping[str, Iterable[Any]]) -> dict[str, tuple[str, ...]]:
    """Each different value once, as text; without those of which nothing is known."""
    found = {name: tuple(dict.fromkeys(str(v) for v in own if v is not None)) for name, own in values.items()}
    return {name: own for name, own in found.items() if own}


def _spaces(plan: Sequence[StudyPlan]) -> dict[str, dict[str, tuple[Parameter, ...]]]:
    own: dict[str, dict[str, list[Parameter]]] = {}
    for study in plan:
        space = own.setdefault(study.key.algorithm, {})
        for key, parameter in study.space.items():
            if parameter not in space.setdefault(key, []):
                space[key].append(parameter)
    first = next(iter(own.values()), {})
    shared = {key: value for key, value in first.items() if all(each.get(key) == value for each in own.values())}
    rest = {name: {key: v for key, v in space.items() if key not in shared} for name, space in own.items()}
    found = {EVERY: shared, **rest} if len(own) > 1 else own
    return {name: {key: tuple(v) for key, v in space.items()} for name, space in found.items() if space}
