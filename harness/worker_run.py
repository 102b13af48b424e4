"""Several workers under Ray Train, started again where one dies, and what they hand in meanwhile."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import ray
import ray.train
import torch
from ray.exceptions import RayError
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, UserCallback, WorkerGroupError
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.desk import Desk
from harness.trial import CHECKPOINT, FAILURE, RESTARTED, failure, one_line
from harness.workers import Workers

MAX_FAULTS = 2
"""Workers that die are started again, from the newest checkpoint, at most so many times."""
STOP_SECONDS = 30.0
"""Workers that wait for an answer end within seconds; for those that are in the midst of steps nobody waits longer."""
ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # also how often reports are looked at; the default is 2 s
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "20",  # then counts again how many fit: a node may have died unnoticed
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


class WorkerRun:
    """A function that several workers run together. It begins at once."""

    def __init__(
        self, loop: Callable[[dict[str, Any]], None], config: Mapping[str, Any], workers: Workers, place: str, name: str
    ) -> None:
        """Each worker calls `loop` with `config` and, as `desk`, where it may hand in reports.

        Checkpoints that it reports to Ray Train go into <name> below `place`, a folder or a URI, and a run of the same
        place and name goes on from them.
        """
        os.environ.update(ENVIRONMENT)
        self._desk = _desk()
        trainer = TorchTrainer(
            loop,
            train_loop_config={**config, "desk": self._desk},
            scaling_config=scaling(workers),
            run_config=RunConfig(
                name=name,
                storage_path=place,
                checkpoint_config=CheckpointConfig(num_to_keep=1),
                failure_config=FailureConfig(max_failures=MAX_FAULTS),
                callbacks=[_ToDesk(self._desk)],
                worker_runtime_env=worker_environment(workers),
            ),
        )
        self._fit: Future[Any] = ThreadPoolExecutor(1).submit(trainer.fit)

    def reports(self) -> Iterator[dict[str, Any]]:
        """What is handed in, until the workers have ended; the last says why, if they could not go on."""
        faults, reason = 0, None
        while report := self._next():
            if FAILURE in report:
                reason = reason or report  # of several workers that fail, the first one's
                continue
            faults += RESTARTED in report
            if faults <= MAX_FAULTS:  # or else they are not started again
                yield report
        error = self._fit.exception()
        if error is not None:
            yield reason or failure(_cause(error))

    def answer(self, report: str, *, goes_on: bool) -> None:
        """Tell the workers whether to go on after the report of this name."""
        ray.get(self._desk.answer.remote(report, goes_on))

    def wait(self) -> None:
        """Wait until the workers have ended, as they do when they are told so."""
        wait([self._fit], STOP_SECONDS)

    def _next(self) -> dict[str, Any] | None:
        """None when all have been taken and the workers have ended."""
        while True:
            has_ended = self._fit.done()
            report: dict[str, Any] | None = ray.get(self._desk.take.remote())
            if report is not None or has_ended:
                return report


class CannotGoOnError(Exception):
    """A worker has handed in why the training can't go on: all are to end, and not to be started again."""


@contextlib.contextmanager
def errors_handed_in(desk: Any) -> Iterator[None]:
    """Within a worker: hand in an error that would come again, and have all workers end, be it on this one alone.

    Any other may come from a worker that died, and is raised for Ray Train to start all of them again.
    """
    try:
        yield
    except Exception as error:
        if not _would_come_again(error):
            raise
        ray.get(desk.hand_in.remote(failure(error)))
        raise CannotGoOnError(one_line(error)) from None


def _would_come_again(error: Exception) -> bool:
    """Whether it is no error of the kinds that Ray, and torch in a collective, raise if another worker has died."""
    return isinstance(error, torch.OutOfMemoryError) or not isinstance(error, RuntimeError | ConnectionError | RayError)


def _cause(error: BaseException) -> BaseException:
    """Of what Ray Train raises for all workers: rather that one died than that others lost it."""
    if not isinstance(error, WorkerGroupError):
        return error
    failures = list(error.worker_failures.values())
    died = [each.health_check_failure for each in failures if isinstance(each, WorkerHealthCheckFailedError)]
    return (died or failures)[0]


class _ToDesk(UserCallback):
    """Hands in what the workers have reported once Ray Train has stored it, and that workers have died."""

    def __init__(self, desk: Any) -> None:
        self._desk = desk

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        stored = {} if checkpoint is None else {CHECKPOINT: checkpoint.path}
        ray.get(self._desk.hand_in.remote(metrics[0] | stored))

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        for error in worker_exceptions.values():
            if isinstance(error, CannotGoOnError):
                raise error  # in a callback, it ends the run at once, with all workers, whatever FailureConfig allows
        ray.get(self._desk.hand_in.remote({RESTARTED: one_line(next(iter(worker_exceptions.values())))}))


def _desk() -> Any:
    """A desk on this node, which lasts as long as who asks for it; Ray would put it where a worker's node may die."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(Desk).remote()


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
