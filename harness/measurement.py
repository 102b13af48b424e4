"""How fast a training is on this machine: a few of its real steps, and an evaluation of some images, timed."""

import time
from collections.abc import Iterator
from dataclasses import replace
from statistics import median

import numpy as np
import torch

from harness.plan import Plan
from harness.plan_cost import Kind, Speed, kinds_of
from harness.selection import LAST_STEP
from harness.space import defaults
from ndcl.config import TrainConfig
from ndcl.cross_validation import CrossValidation
from ndcl.training import Training, build_training

WARM_UP_STEPS = 3
ROUNDS, STEPS_PER_ROUND = 5, 5
ENOUGH_SECONDS = 20.0
"""No round is begun later than this after the first."""
EVALUATED_IMAGES = 512


def measured_speeds(plan: Plan) -> Iterator[tuple[Kind, Speed]]:
    """Each kind of the plan's trainings, timed by the first trial of the first study of that kind.

    Raises UserError for a training that can't be built here, such as one whose weights can't be had.
    """
    first: dict[Kind, TrainConfig] = {}
    for study in plan.studies:
        config = study.train_config(defaults(study.space))
        search, final = kinds_of(study)
        first.setdefault(search, config)
        first.setdefault(final, replace(config, select_by=(LAST_STEP,)))
    for kind, config in first.items():
        yield kind, measured_speed(config, plan.occupied["search"].num_threads)


def measured_speed(config: TrainConfig, num_threads: int) -> Speed:
    """Build the training and time it, alone on this machine, with the threads that a trial has.

    Raises UserError for anything in `config` that does not exist or does not fit.
    """
    earlier = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        training = build_training(config)
        folds = list(training.folds.values()) if isinstance(training, CrossValidation) else [training]
        speeds = [_speed(fold) for fold in folds]
    finally:
        torch.set_num_threads(earlier)
    return Speed(
        seconds_per_step=sum(speed.seconds_per_step for speed in speeds),
        seconds_per_evaluation=sum(speed.seconds_per_evaluation for speed in speeds),
        checkpoint_bytes=sum(map(checkpoint_bytes, folds)),
        device=folds[0].device.type,
    )


def _speed(training: Training) -> Speed:
    try:
        training.time_steps(WARM_UP_STEPS)
        return Speed(
            seconds_per_step=_seconds_per_step(training), seconds_per_evaluation=_seconds_per_evaluation(training)
        )
    finally:
        training.loader.close()


def checkpoint_bytes(training: Training) -> int:
    """Of the network, Adam's two moments of each parameter, and the best network so far."""
    network = sum(int(tensor.nbytes) for tensor in training.network.state_dict().values())
    moments = 2 * sum(int(parameter.nbytes) for parameter in training.network.parameters())
    return 2 * network + moments


def _seconds_per_step(training: Training) -> float:
    began, rounds = time.perf_counter(), [training.time_steps(STEPS_PER_ROUND)]
    while len(rounds) < ROUNDS and time.perf_counter() - began < ENOUGH_SECONDS:
        rounds.append(training.time_steps(STEPS_PER_ROUND))
    return median(rounds) / STEPS_PER_ROUND


def _seconds_per_evaluation(training: Training) -> float:
    """Of all validation and target images, by the first of them."""
    problem = training.problem
    images = np.concatenate([*problem.validation, problem.target_test])
    some = images[:EVALUATED_IMAGES]
    training.predict(some)  # the first time, workers and libraries start
    began = time.perf_counter()
    training.predict(some)
    return (time.perf_counter() - began) * len(images) / len(some)
