"""One trial in a Ray Tune worker process: the training loop of `ndcl`, its evaluations reported with checkpoints.

Worker processes are reused from trial to trial, which saves seconds each, so everything that a trial may have left
behind is reset at the start of the next.
"""

import atexit
import functools
import gc
import json
import math
import platform
import random
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray import tune

from harness.checkpoints import EVALUATION_FILE, TRAINING, fetched, is_whole
from harness.environment import Usage, environment
from harness.records import ENVIRONMENT, last_lines
from harness.scratch import scratch_folder
from ndcl.config import TrainConfig
from ndcl.cross_validation import CrossValidation
from ndcl.data.problem import Problem, build_problem
from ndcl.errors import UserError
from ndcl.evaluation import Evaluation, with_confusion
from ndcl.parallel import Group
from ndcl.training import Training, build_training

EVALUATION, FAILURE, LOG = "evaluation", "failure", "log"
"""Keys of a report: an evaluation in JSON, or why the training can't go on in one line, and its traceback."""
CHECKPOINT, RESTARTED = "checkpoint", "restarted"
"""Keys of the reports of several workers: where a checkpoint was stored, and that a worker died and all start again."""
PROBLEMS_KEPT = 4
AnyTraining = Training | CrossValidation


def run_trial(config: dict[str, Any]) -> None:
    """Train by `config["legs"]`, from the checkpoint `config["resume_from"]` if one is given, and report to Tune.

    A training has one leg, or, where population based training has found a schedule, one for each change of values.

    A failure of the training itself is reported rather than raised: it would happen again, and Ray must not retry it.
    A process that dies is started again by Ray, and goes on from its newest checkpoint.
    """
    try:
        for training, evaluation in evaluated(config, tune.get_checkpoint()):
            report(training, evaluation)
    except Exception as error:
        tune.report(failure(error))


def evaluated(config: dict[str, Any], own: "tune.Checkpoint | None") -> Iterator[tuple[AnyTraining | None, str]]:
    """Train by a trial's config, yielding the training at each of its evaluations (JSON).

    The training goes on from this attempt's `own` checkpoint after a fault, else from that of an earlier attempt. Its
    evaluation comes first, without a training: it may be unknown to the driver if that was killed at the wrong moment.
    """
    legs = [(int(leg["from_step"]), TrainConfig.from_dict(leg["train"])) for leg in config["legs"]]
    reset_process(legs[0][1].seed, config["num_threads"])
    problem = problem_of(_problem_key(legs[0][1]))
    usage, where = Usage(), {ENVIRONMENT: environment(problem)}
    with _newest_checkpoint(own, config["resume_from"]) as folder:
        _require_same_start(folder)
        if folder is not None:
            yield None, (folder / EVALUATION_FILE).read_text()
        for training, evaluation in _trained(legs, problem, folder, config["take_over"]):
            yield training, to_json(with_confusion(evaluation) | {"system": usage.since_last()} | where)


Leg = tuple[int, TrainConfig]
"""A step, and the config that holds from there on."""


def _trained(
    legs: Sequence[Leg], problem: Problem, folder: Path | None, take_over: bool
) -> Iterator[tuple[AnyTraining, Evaluation]]:
    """Train leg by leg, each from where the one before ended; the first from the checkpoint `folder`, if there is one.

    Yields the training at each of its evaluations.
    """
    start = None if folder is None else folder / TRAINING
    done = _steps_done(folder)
    with tempfile.TemporaryDirectory(prefix="leg-", dir=scratch_folder()) as between:
        for (_, config), end in zip(legs, [*(step for step, _ in legs[1:]), legs[0][1].num_steps], strict=True):
            if done >= end:
                continue
            training = build_training(config, problem)
            if start is not None:
                training.load(start, take_over=take_over)
            for evaluation in training.evaluations():
                done = evaluation.step
                yield training, evaluation
                if done >= end:
                    break
            if done < config.num_steps:
                start = Path(between) / str(done)
                training.content().write(start)  # each worker for itself


def _steps_done(folder: Path | None) -> int:
    """Up to the checkpoint `folder`, if there is one."""
    return 0 if folder is None else int(json.loads((folder / EVALUATION_FILE).read_text())["step"])


def _require_same_start(folder: Path | None) -> None:
    """Refuse, on one of several workers, to go on from elsewhere than the first does. Raises UserError."""
    done = _steps_done(folder)
    [expected] = Group.current().from_first([done])
    if done != expected:
        raise UserError(
            f"{platform.node()} sees no checkpoint of step {expected:.0f}, from which the first worker goes on; "
            "put the results folder on a disk that all nodes see"
        )


def report(training: AnyTraining | None, evaluation: str) -> None:
    """Report an evaluation (JSON) with a checkpoint of its training, and wait until the driver has seen it."""
    if training is None:
        tune.report({EVALUATION: evaluation})
        return
    with tempfile.TemporaryDirectory(prefix="checkpoint-", dir=scratch_folder()) as name:
        write_checkpoint(Path(name), training, evaluation)
        tune.report({EVALUATION: evaluation}, checkpoint=tune.Checkpoint.from_directory(name))


def write_checkpoint(folder: Path, training: AnyTraining, evaluation: str) -> None:
    """Lay a training and its evaluation (JSON) out as a trial's checkpoint; of several workers all have to call it."""
    training.save(folder / TRAINING)
    (folder / EVALUATION_FILE).write_text(evaluation)


def reset_process(seed: int, num_threads: int) -> None:
    """Give the process the state of a fresh one: random numbers, torch's flags, memory of the previous trial."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(num_threads)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = False
    _freeze_imports()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@functools.cache
def _freeze_imports() -> None:
    """Take what stays imported out of garbage collection: to search it would cost each trial tenths of a second."""
    import torch._dynamo  # noqa: F401  the first optimiser would import it, and it is half of all

    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # extension modules complain of what is left when a process ends


@functools.lru_cache(maxsize=PROBLEMS_KEPT)
def problem_of(key: str) -> Problem:
    """The problem of a config's data and imbalance (JSON), kept for the trials that follow in this process."""
    config = TrainConfig.from_dict(json.loads(key))
    return build_problem(config.data, config.imbalance)


def _problem_key(config: TrainConfig) -> str:
    values = config.to_dict()
    parts = {"data": values["data"], "imbalance": values["imbalance"], "algorithm": {"name": "erm"}}
    return json.dumps(parts, sort_keys=True)


@contextmanager
def _newest_checkpoint(own: "tune.Checkpoint | None", resume_from: str | None) -> Iterator[Path | None]:
    """The checkpoint to go on from: this attempt's own after a fault, else the one of an earlier attempt, if whole."""
    if own is not None:
        with own.as_directory() as name:
            if is_whole(Path(name)):
                yield Path(name)
                return
    if resume_from is None:
        yield None
        return
    with fetched(resume_from) as folder:
        yield folder if is_whole(folder) else None


def to_json(values: dict[str, Any]) -> str:
    """JSON in which a number that is NaN or infinite is null, since JSON knows none."""
    return json.dumps(_finite(values), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def failure(error: BaseException) -> dict[str, str]:
    """The report that a training can't go on: why, and where in the code."""
    return {FAILURE: one_line(error), LOG: last_lines("".join(traceback.format_exception(error)))}


def one_line(error: BaseException) -> str:
    """The error's kind and message in one line of bounded length."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:500] if text else type(error).__name__
