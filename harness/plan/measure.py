"""How fast a training is on this machine: a few of its real steps, and an evaluation of some images, timed."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from harness.config.space import defaults
from harness.plan.cost import Kind, Overhead, Speed, kinds_of
from harness.plan.fit import fit
from harness.plan.neighbours import neighbours
from harness.plan.plan import Plan
from ndcl.config import TrainConfig
from ndcl.criteria import LAST_STEP
from ndcl.processors import num_processors
from ndcl.training import CrossValidation, Training, build_training

WARM_UP_STEPS = 3
ROUNDS, STEPS_PER_ROUND = 5, 5
ENOUGH_SECONDS = 20.0
"""No round is begun later than this after the first."""
EVALUATED_IMAGES = 512
STARTUP, PER_TRIAL, PER_STUDY, PER_REPORT = 3.0, 0.11, 0.6, 0.006
"""What a sweep takes beside its trainings, in units of the time in which a process imports what a trial needs, which is
some 7 s on a quiet machine: 4.5 s imports and plan, 9 s Ray, 8 s to the first step, 1.5 s to stop; 0.8 s for each trial
in the process that drives the sweep, 4 s for the figures of a study, 0.04 s for each report (docs/log.md)."""


def measured_overhead() -> Overhead:
    """What a sweep takes beside its trainings here, by the time of one start of a process."""
    unit = import_seconds()
    return Overhead(
        startup_seconds=STARTUP * unit,
        core_seconds_per_trial=PER_TRIAL * unit,
        core_seconds_per_study=PER_STUDY * unit,
        seconds_per_report=PER_REPORT * unit,
        num_cores=num_processors(),
    )


def import_seconds() -> float:
    """In which a new process imports what a trial needs."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "import harness.trials.trial, torch._dynamo"], check=True, capture_output=True
    )
    return time.perf_counter() - began


def measured_speeds(
    plan: Plan, seconds_per_report: float = 0.0, *, alone: bool = False
) -> Iterator[tuple[Kind, Speed]]:
    """Each kind of the plan's trainings, timed by the first trial of the first study of that kind.

    What a sweep adds to each evaluation, `seconds_per_report`, counts in. On a CPU as many others train meanwhile as
    the sweep would run at once here, unless it is to be timed `alone`.

    Raises UserError for a training that can't be built here, such as one whose weights can't be had.
    """
    first: dict[Kind, TrainConfig] = {}
    for study in plan.studies:
        config = study.train_config(defaults(study.space))
        configs = {"search": config, "final": replace(config, select_by=(LAST_STEP,))}
        if study.num_reviews:
            configs["review"] = study.review_config(defaults(study.space))
        for stage, kind in kinds_of(study).items():
            first.setdefault(kind, configs[stage])
    num_at_once = 1 if alone else max((fit(plan).at_once or {"search": 1}).values())
    for kind, config in first.items():
        speed = measured_speed(config, plan.occupied["search"].num_threads, num_at_once - 1)
        reported = speed.seconds_per_evaluation + seconds_per_report
        yield kind, replace(speed, seconds_per_evaluation=reported)


def measured_speed(config: TrainConfig, num_threads: int, num_beside: int = 0) -> Speed:
    """Build the training and time it with the threads that a trial has, on a CPU with `num_beside` others beside it.

    Raises UserError for anything in `config` that does not exist or does not fit.
    """
    earlier = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        training = build_training(config)  # the first time libraries are imported, as in a trial's process
        began = time.perf_counter()
        training = build_training(config, None if isinstance(training, CrossValidation) else training.problem)
        building = time.perf_counter() - began
        folds = list(training.folds.values()) if isinstance(training, CrossValidation) else [training]
        device = folds[0].device.type
        with neighbours(config, num_beside if device == "cpu" else 0, num_threads):
            speeds = [_speed(fold) for fold in folds]
    finally:
        torch.set_num_threads(earlier)
    return Speed(
        seconds_per_step=sum(speed.seconds_per_step for speed in speeds),
        seconds_per_evaluation=sum(speed.seconds_per_evaluation for speed in speeds),
        seconds_per_trial=building + sum(speed.seconds_per_trial for speed in speeds),
        checkpoint_bytes=sum(map(checkpoint_bytes, folds)),
        device=device,
        num_beside=num_beside if device == "cpu" else 0,
    )


def _speed(training: Training) -> Speed:
    try:
        training.time_steps(WARM_UP_STEPS)
        step, image = _seconds_per_step(training), _seconds_per_image(training)
        seen, target = sum(map(len, training.problem.validation)), len(training.problem.target_test)
        looks, average = training.config.evaluate_target, training.average
        seen_twice = seen * (2 if average is not None and average.needs_loss else 1)
        return Speed(
            seconds_per_step=step,
            seconds_per_evaluation=image * (seen_twice + target * (looks == "always"))
            + _seconds_per_checkpoint(training),
            seconds_per_trial=image * (seen + target) * (looks == "selected"),
        )
    finally:
        training.loader.close()


def checkpoint_bytes(training: Training) -> int:
    """Of the network, Adam's two moments of each parameter, the best network so far, and averages of the weights."""
    network = sum(int(tensor.nbytes) for tensor in training.network.state_dict().values())
    moments = 2 * sum(int(parameter.nbytes) for parameter in training.network.parameters())
    return 2 * network + moments + (0 if training.average is None else _tensor_bytes(training.average.state()))


def _tensor_bytes(state: Any) -> int:
    """Of all tensors in nested dictionaries and lists."""
    if isinstance(state, (dict, list)):
        return sum(map(_tensor_bytes, state.values() if isinstance(state, dict) else state))
    return int(state.nbytes) if isinstance(state, torch.Tensor) else 0


def _seconds_per_step(training: Training) -> float:
    began, rounds = time.perf_counter(), [training.time_steps(STEPS_PER_ROUND)]
    while len(rounds) < ROUNDS and time.perf_counter() - began < ENOUGH_SECONDS:
        rounds.append(training.time_steps(STEPS_PER_ROUND))
    return median(rounds) / STEPS_PER_ROUND


def _seconds_per_image(training: Training) -> float:
    """Of an evaluation, by the first validation and target images."""
    problem = training.problem
    some = np.concatenate([*problem.validation, problem.target_test])[:EVALUATED_IMAGES]
    training.predict(some)  # the first time, workers and libraries start
    began = time.perf_counter()
    training.predict(some)
    return (time.perf_counter() - began) / len(some)


def _seconds_per_checkpoint(training: Training) -> float:
    """To write one, after the optimiser has its moments."""
    with tempfile.TemporaryDirectory(prefix="checkpoint-") as name:
        began = time.perf_counter()
        training.save(Path(name) / "checkpoint")
        return time.perf_counter() - began
