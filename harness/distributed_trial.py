"""A trial on several workers: the loop of `trial.py` under Ray Train, as a Tune trainable that trains nothing itself.

The workers stand still after each evaluation until the sweep has taken note of it and says whether to go on, as a trial
in one process does. So a trial that is stopped early ends by itself, and leaves neither a worker nor a placement group
behind. It is what `Desk` is for: Ray Train carries reports one way only.
"""

import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray import tune
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchTrainer

from harness.checkpoints import EVALUATION_FILE, TRAINING
from harness.desk import Desk
from harness.scratch import scratch_folder
from harness.trial import CHECKPOINT, EVALUATION, FAILURE, RESTARTED, AnyTraining, evaluated, one_line
from harness.workers import Workers
from ndcl.errors import NonFiniteLossError, UserError
from ndcl.parallel import Group

REPORT = "report"
"""Key of a report's own name, by which it is answered."""
MAX_FAULTS = 2
"""Workers that die are started again, from the newest checkpoint, at most so many times in a trial."""
STOP_SECONDS = 30.0
"""Workers that wait for an answer end within seconds; for those that are in the midst of steps nobody waits longer."""
DRIVER = {"node:__internal_head__": 0.001}
"""What a trial occupies beside its workers: nothing that they could be short of, or drivers would wait for each other's
workers for ever. Every Ray has this resource on its head node."""
ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # also how often reports are looked at; the default is 2 s
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


class _ToDesk(UserCallback):
    """Hands in what the workers have reported once Ray Train has stored it, and that workers have died."""

    def __init__(self, desk: Any) -> None:
        self._desk = desk

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        stored = {} if checkpoint is None else {CHECKPOINT: checkpoint.path}
        ray.get(self._desk.hand_in.remote(metrics[0] | stored))

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        ray.get(self._desk.hand_in.remote({RESTARTED: one_line(next(iter(worker_exceptions.values())))}))


class DistributedTrial(tune.Trainable):
    """One trial. Each step of Tune's is a report; asking for the next means that the training may go on."""

    workers: Workers
    run_place: str

    def setup(self, config: dict[str, Any]) -> None:
        """Start the workers."""
        os.environ.update(ENVIRONMENT)
        self._desk = ray.remote(num_cpus=0)(Desk).remote()
        trainer = TorchTrainer(
            train_worker,
            train_loop_config={"trial": config, "desk": self._desk},
            scaling_config=scaling(self.workers),
            run_config=RunConfig(
                name=config["folder"],
                storage_path=self.run_place,
                checkpoint_config=CheckpointConfig(num_to_keep=1),
                failure_config=FailureConfig(max_failures=MAX_FAULTS),
                callbacks=[_ToDesk(self._desk)],
                worker_runtime_env=worker_environment(self.workers),
            ),
        )
        self._unanswered: str | None = None
        self._fit: Future[Any] = ThreadPoolExecutor(1).submit(trainer.fit)
        self._reports = self._all_reports()

    def step(self) -> dict[str, Any]:
        """The next report; the last has nothing but Tune's `done`."""
        return next(self._reports, {"done": True})

    def cleanup(self) -> None:
        """Have the workers end, if they have not."""
        self._answer(goes_on=False)
        wait([self._fit], STOP_SECONDS)

    def _all_reports(self) -> Iterator[dict[str, Any]]:
        faults = 0
        while report := self._next_report():
            faults += RESTARTED in report
            if faults > MAX_FAULTS:
                continue  # they are not started again
            self._unanswered = report.pop(REPORT, None)
            yield report
            self._answer(goes_on=True)
        error = self._fit.exception()
        if error is not None:
            yield {FAILURE: one_line(error)}

    def _next_report(self) -> dict[str, Any] | None:
        """None when all have been taken and the workers have ended."""
        while True:
            has_ended = self._fit.done()
            report: dict[str, Any] | None = ray.get(self._desk.take.remote())
            if report is not None or has_ended:
                return report

    def _answer(self, *, goes_on: bool) -> None:
        if self._unanswered is not None:
            ray.get(self._desk.answer.remote(self._unanswered, goes_on))
            self._unanswered = None


def distributed_trial(workers: Workers, run_place: str) -> type[DistributedTrial]:
    """The trainable of a sweep whose trials have several workers; checkpoints go to <trial> below `run_place`."""
    attributes = {"workers": workers, "run_place": run_place}
    return type("DistributedTrial", (DistributedTrial,), attributes)


def scaling(workers: Workers) -> ScalingConfig:
    """The workers as Ray Train takes them."""
    return ScalingConfig(
        num_workers=workers.most if workers.least == workers.most else (workers.least, workers.most),
        use_gpu=workers.gpus > 0,
        resources_per_worker={kind: number for kind, number in workers.needed.items() if number > 0},
        placement_strategy=workers.placement,
    )


def worker_environment(workers: Workers) -> dict[str, Mapping[str, str]]:
    """Ray's runtime environment of the workers: those that occupy no GPU see none."""
    return {} if workers.gpus else {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}}


def train_worker(config: dict[str, Any]) -> None:
    """What each worker does: its part of the training, until that has ended or is to be stopped.

    An error of the training itself ends it on all workers alike, and is not retried. Any other may come from a worker
    that died, and is raised for Ray Train to start all of them again.
    """
    desk = config["desk"]
    try:
        for training, evaluation in evaluated(config["trial"], ray.train.get_checkpoint()):
            if not _goes_on(desk, training, evaluation):
                return
    except (UserError, NonFiniteLossError) as error:
        if Group.current().is_first:
            ray.get(desk.hand_in.remote({FAILURE: one_line(error)}))


def _goes_on(desk: Any, training: AnyTraining | None, evaluation: str) -> bool:
    """Report an evaluation with a checkpoint, and wait for the answer, which is the same on all workers."""
    group, name = Group.current(), uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="checkpoint-", dir=scratch_folder()) as folder:
        if training is not None:
            training.save(Path(folder) / TRAINING)
        checkpoint = None
        if training is not None and group.is_first:
            (Path(folder) / EVALUATION_FILE).write_text(evaluation)
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report({EVALUATION: evaluation, REPORT: name} if group.is_first else {}, checkpoint)
    [goes_on] = group.from_first([ray.get(desk.answer_to.remote(name)) if group.is_first else False])
    return bool(goes_on)
