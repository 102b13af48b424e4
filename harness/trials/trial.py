"""One trial in a Ray Tune worker process: the training loop of `ndcl`, its evaluations reported with checkpoints.

Worker processes are reused from trial to trial, which saves seconds each, so everything that a trial may have left
behind is reset at the start of the next.
"""

import atexit
import functools
import gc
import json
import os
import platform
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray import tune

from harness.cluster.notice import NodeNotice
from harness.records.record import ENVIRONMENT
from harness.storage.checkpoints import CHECKPOINT_GONE, EVALUATION_FILE, TRACE, TRAINING, fetched, is_whole, trace_of
from harness.storage.scratch import scratch_folder
from harness.trials.ensemble import evaluated_ensemble
from harness.trials.environment import Usage, environment
from harness.trials.messages import EVALUATION, NOTICE, failure, to_json
from ndcl.config import TrainConfig
from ndcl.data.problem import Problem, build_problem
from ndcl.data.store.format import short_digest
from ndcl.errors import ReplacedDataError, UserError
from ndcl.evaluation import Evaluation
from ndcl.evaluation.evaluation import with_confusion
from ndcl.filesystems import shown
from ndcl.gpus import require_usable_gpu
from ndcl.parallel import Group
from ndcl.training import CrossValidation, InterruptedTrainingError, Training, build_training

PROBLEMS_KEPT = 4
AnyTraining = Training | CrossValidation
NOT_EVALUATED = json.dumps({"step": 0})
"""Stands for the evaluation in a checkpoint that was written before the first one."""


class NodeTakenError(Exception):
    """The node is to be taken away: the trial ends here, and continues on another one."""

    def __init__(self, training: Training, evaluation: str) -> None:
        """`evaluation`: the newest (JSON)."""
        super().__init__(f"{platform.node()} is to be taken away; stopped after step {training.step}")
        self.training, self.evaluation = training, evaluation


def run_trial(config: dict[str, Any]) -> None:
    """Train by `config["segments"]`, from the checkpoint `config["resume_from"]` if one is given, and report to Tune.

    A training has one segment, or, where population based training has found a schedule, one for each change of values.

    A failure of the training itself is reported rather than raised: it would happen again, and Ray must not retry it.
    A process that dies is started again by Ray, and resumes from its newest checkpoint. So is one whose GPU has failed,
    which no later trial in it could use: Ray ends the process of a trial that raises. Where the cloud gives notice that
    it takes the node, the trial writes a checkpoint after the step that it is in, and raises, too.
    """
    try:
        for training, evaluation in evaluated(config, tune.get_checkpoint(), NodeNotice()):
            report(training, evaluation)
    except NodeTakenError as notice:
        report(notice.training, notice.evaluation, NOTICE)
        raise
    except Exception as error:
        if _has_lost_its_gpu(error):
            raise
        tune.report(failure(error))


def _has_lost_its_gpu(error: BaseException) -> bool:
    """Whether the process can't use its GPU any more, as after an access to a wrong address: torch can't undo that."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    if any(isinstance(each, torch.AcceleratorError) for each in causes):
        return True
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


def evaluated(
    config: dict[str, Any], own: "tune.Checkpoint | None", is_to_stop: Callable[[], bool] | None = None
) -> Iterator[tuple[AnyTraining | None, str]]:
    """Train by a trial's config, yielding the training at each of its evaluations (JSON).

    The training resumes from this attempt's `own` checkpoint after a fault, else from that of an earlier attempt. Its
    evaluation comes first, without a training: it may be unknown to the driver if that was killed at the wrong moment.
    Raises NodeTakenError between two evaluations once `is_to_stop`, which is asked after each step, on any worker.
    """
    segments = [(int(segment["from_step"]), TrainConfig.from_dict(segment["train"])) for segment in config["segments"]]
    if Path(config["working_folder"]).is_dir():
        os.chdir(config["working_folder"])  # from where paths of data and weights are relative; Tune goes elsewhere
    if config["num_gpus"] and segments[0][1].device != "cpu":
        require_usable_gpu()
    reset_process(segments[0][1].seed, config["num_threads"])
    problem = problem_of(_problem_key(segments[0][1]), config.get("digest"))
    usage, where = Usage(), {ENVIRONMENT: environment(problem)}
    if config.get("members"):
        besides = {"system": usage.since_last()} | where
        averages = bool(config.get("averages_weights"))
        yield None, evaluated_ensemble(config["members"], problem, besides, averages_weights=averages)
        return
    with _newest_checkpoint(own, config["resume_from"]) as folder:
        if folder is None and config["resume_from"] is not None and config["take_over"]:
            raise UserError(f"{CHECKPOINT_GONE}, with the weights that it took over: {shown(config['resume_from'])}")
        _require_same_start(folder)
        newest = NOT_EVALUATED if folder is None else (folder / EVALUATION_FILE).read_text()
        if newest != NOT_EVALUATED:
            yield None, newest
        try:
            for training, evaluation in _trained(segments, problem, folder, config["take_over"], is_to_stop):
                newest = to_json(with_confusion(evaluation) | {"system": usage.since_last()} | where)
                yield training, newest
        except InterruptedTrainingError as interrupted:
            raise NodeTakenError(interrupted.training, newest) from None


Segment = tuple[int, TrainConfig]
"""A step, and the config that holds from there on."""


def _trained(
    segments: Sequence[Segment],
    problem: Problem,
    folder: Path | None,
    take_over: bool,
    is_to_stop: Callable[[], bool] | None,
) -> Iterator[tuple[AnyTraining, Evaluation]]:
    """Train segment by segment, each from the end of the one before; the first from the checkpoint `folder`, if any.

    Yields the training at each of its evaluations.
    """
    start = None if folder is None else folder / TRAINING
    done, trace = _steps_done(folder), None if folder is None else trace_of(str(folder))
    with tempfile.TemporaryDirectory(prefix="segment-", dir=scratch_folder()) as between:
        for (_, config), end in zip(
            segments, [*(step for step, _ in segments[1:]), segments[0][1].num_steps], strict=True
        ):
            if done >= end:
                continue
            training = build_training(config, problem)
            training.profiler.trace = trace  # of steps before this
            if is_to_stop is not None:
                training.stop_once(is_to_stop)
            if start is not None:
                training.load(start, take_over=take_over)
            for evaluation in training.evaluations():
                done = evaluation.step
                yield training, evaluation
                trace = training.profiler.trace
                if done >= end:
                    break
            if done < config.num_steps:
                start = Path(between) / str(done)
                training.content().write(start)  # each worker for itself


def _steps_done(folder: Path | None) -> int:
    """Up to the checkpoint `folder`, if there is one."""
    return 0 if folder is None else int(json.loads((folder / EVALUATION_FILE).read_text())["step"])


def _require_same_start(folder: Path | None) -> None:
    """Refuse, on one of several workers, to resume from elsewhere than the first does. Raises UserError."""
    done = _steps_done(folder)
    [expected] = Group.current().from_first([done])
    if done != expected:
        raise UserError(
            f"{platform.node()} sees no checkpoint of step {expected:.0f}, which the first worker has; "
            "put the results folder on a disk that all nodes see"
        )


def report(training: AnyTraining | None, evaluation: str, key: str = EVALUATION) -> None:
    """Report an evaluation (JSON) with a checkpoint of its training, and wait until the driver has seen it."""
    if training is None:
        tune.report({key: evaluation})
        return
    with tempfile.TemporaryDirectory(prefix="checkpoint-", dir=scratch_folder()) as name:
        write_checkpoint(Path(name), training, evaluation)
        tune.report({key: evaluation}, checkpoint=tune.Checkpoint.from_directory(name))


def write_checkpoint(folder: Path, training: AnyTraining, evaluation: str) -> None:
    """Lay a training and its evaluation (JSON) out as a trial's checkpoint; of several workers all have to call it."""
    training.save(folder / TRAINING)
    (folder / EVALUATION_FILE).write_text(evaluation)
    if training.profiler.trace is not None:
        (folder / TRACE).write_bytes(training.profiler.trace)


def reset_process(seed: int, num_threads: int) -> None:
    """Give the process the state of a fresh one: random numbers, torch's flags, memory of the previous trial."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(num_threads)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    if torch.are_deterministic_algorithms_enabled():  # to turn it off where it isn't on would import the compiler
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
def problem_of(key: str, digest: str | None = None) -> Problem:
    """The problem of a config's data and imbalance (JSON), kept for the trials that follow in this process.

    It stays what it was if the data set is replaced meanwhile. Raises ReplacedDataError for one of another `digest`.
    """
    config = TrainConfig.from_dict(json.loads(key))
    problem = build_problem(config.data, config.imbalance)
    if digest is not None and problem.store.digest != digest:
        raise ReplacedDataError(
            f"data set '{config.data.name}' has digest {short_digest(problem.store.digest)} on {platform.node()}, but "
            f"the sweep was started on {short_digest(digest)}"
        )
    return problem


def _problem_key(config: TrainConfig) -> str:
    values = config.to_dict()
    parts = {"data": values["data"], "imbalance": values["imbalance"], "algorithm": {"name": "erm"}}
    return json.dumps(parts, sort_keys=True)


@contextmanager
def _newest_checkpoint(own: "tune.Checkpoint | None", resume_from: str | None) -> Iterator[Path | None]:
    """The checkpoint to resume from: this attempt's own after a fault, else the one of an earlier attempt, if whole."""
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
