"""Records, evaluations and plans made by hand for the harness's tests."""

import dataclasses
from pathlib import Path
from typing import Any

from harness.config import Demand
from harness.config.parameters import FloatParameter
from harness.config.search import SchedulerConfig
from harness.plan import Plan, StudyPlan
from harness.records import STAGES, Stage, State, StudyKey, TrialRecord
from ndcl.algorithm_configs.long_tail import ErmConfig
from ndcl.config import DataConfig, ImbalanceConfig, TrainConfig

RATE = "optimizer.learning_rate"
ACCURACY = ("overall", "balanced", "worst_class", "many", "median", "few", "zero")


def key(algorithm: str = "erm", target: str = "scan") -> StudyKey:
    return StudyKey(algorithm=algorithm, dataset="digits", setting="long_tail-20", target=target)


def base(**changes: Any) -> dict[str, Any]:
    config = TrainConfig(
        data=DataConfig(name="digits", target="scan"),
        algorithm=ErmConfig(),
        imbalance=ImbalanceConfig(ratio=20, validation=2),
        num_steps=4,
        evaluate_every=2,
        batch_size=4,
    )
    return config.to_dict() | changes


def study(algorithm: str = "erm", target: str = "scan", **changes: Any) -> StudyPlan:
    values: dict[str, Any] = {
        "key": key(algorithm, target),
        "base": base(),
        "space": {RATE: FloatParameter(type="float", low=1e-4, high=1e-2, log=True, default=1e-3)},
        "num_trials": 3,
        "final_seeds": (1, 2),
        "sampler": "tpe",
        "scheduler": SchedulerConfig(name="none"),
        "seed": 0,
    }
    return StudyPlan(**(values | changes))


def plan(results: Path, *studies: StudyPlan) -> Plan:
    return Plan(
        name="made",
        studies=studies or (study(),),
        results=results,
        occupied=both(cpus=1.0, gpus=0.0),
        resolved={"name": "made"},
    )


def both(**values: Any) -> dict[Stage, Demand]:
    """What trainings of both stages occupy, if it is the same."""
    return dict.fromkeys(STAGES, Demand(**values))


def evaluation(step: int, accuracy: float | None = 0.5) -> dict[str, Any]:
    part = dict.fromkeys(ACCURACY, 0.25) | {"zero": None, "per_class": [0.5, None], "num_images": 4}
    return {
        "step": step,
        "seconds": step / 10,
        "losses": {"total": 1.5},
        "validation_accuracy": accuracy,
        "worst_domain_accuracy": accuracy,
        "few_shot_accuracy": accuracy,
        "leave_one_domain_out_accuracy": None,
        "oracle_accuracy": None,
        "held_out": None,
        "validation": {"sign": part, "print": part},
        "target": part,
        "oracle": None,
    }


def record(
    number: int = 0,
    state: State = "finished",
    accuracy: float | None = 0.5,
    *,
    stage: Stage = "search",
    rate: float | None = None,
    seed: int = 0,
    of: StudyKey | None = None,
    steps: tuple[int, ...] = (2, 4),
    **changes: Any,
) -> TrialRecord:
    values = {RATE: 1e-3 * (number + 1) if rate is None else rate}
    return TrialRecord(
        study=of or key(),
        stage=stage,
        number=number,
        values=values,
        config=base(seed=seed),
        state=state,
        evaluations=tuple(evaluation(step, accuracy) for step in steps),
        started=1000.0 + number,
        ended=1010.0 + number if state in ("finished", "pruned", "failed") else None,
        **changes,
    )


def measured(
    algorithm: str,
    target: str,
    accuracy: float | None,
    *,
    seed: int = 1,
    stage: Stage = "final",
    number: int | None = None,
    values: dict[str, Any] | None = None,
    merits: dict[str, float] | None = None,
    ratio: float = 65,
    **config: Any,
) -> TrialRecord:
    """A training with one checkpoint, of which only what a report reads is made; a final one unless said otherwise.

    `merits` has the values of the criteria that it is judged by.
    """
    merits = merits or {"validation_accuracy": 0.5}
    imbalance = {"setting": "long_tail", "ratio": ratio, "counts": None}
    made = {"seed": seed, "num_steps": 10, "imbalance": imbalance, "select_by": list(merits), **config}
    return TrialRecord(
        study=StudyKey(algorithm=algorithm, dataset="digits", setting=f"long_tail-{ratio:g}", target=target),
        stage=stage,
        number=seed - 1 if number is None else number,
        values=values or {},
        config=made,
        state="finished",
        evaluations=({"step": 10, **merits, "target": dict.fromkeys(ACCURACY, accuracy)},),
    )


def guessing(number: int = 0, accuracy: float = 0.2, num_images: int = 50, **values: Any) -> TrialRecord:
    """A trial whose class-balanced validation accuracy over two domains and five classes is `accuracy`."""
    part = {"balanced": accuracy, "per_class": [accuracy] * 5, "num_images": num_images}
    made = record(number, accuracy=accuracy, **values)
    evaluations = tuple(each | {"validation": {"sign": part, "print": part}} for each in made.evaluations)
    return dataclasses.replace(made, evaluations=evaluations)
