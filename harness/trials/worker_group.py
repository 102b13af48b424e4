"""Several workers under Ray Train, started again where one dies, and what they hand in meanwhile."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import ray
import ray.train
import torch
from ray.exceptions import RayActorError, RayError
from ray.train import (
    CheckpointConfig,
    ControllerError,
    FailureConfig,
    RunConfig,
    ScalingConfig,
    UserCallback,
    WorkerGroupError,
)
from ray.train.torch import TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.cluster.ray_internals import health_check_error
from harness.config import Workers
from harness.trials import loopback_group
from harness.trials.loopback_group import LoopbackTorchConfig
from harness.trials.mailbox import Mailbox
from harness.trials.messages import CHECKPOINT, FAILURE, RESTARTED, failure, one_line
from harness.trials.rank_logs import log_folder, logs_exist
from harness.trials.torch_start import StartError, WatchedTorchConfig
from ndcl.filesystems import shown

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
        """Each worker calls `loop` with `config`, where it may hand in reports as `mailbox`, and a place for `logs`.

        Checkpoints that it reports to Ray Train go into <name> below `place`, a folder or a URI, and a run of the same
        place and name resumes from them.
        """
        os.environ.update(ENVIRONMENT)
        self._mailbox = _mailbox()
        train = {"train_loop_config": {**config, "mailbox": self._mailbox}, "scaling_config": scaling(workers)}

        def trainer(max_failures: int) -> TorchTrainer:
            run_config = RunConfig(
                name=name,
                storage_path=place,
                checkpoint_config=CheckpointConfig(num_to_keep=1),
                failure_config=FailureConfig(max_failures=max_failures),
                callbacks=[_ToDesk(self._mailbox)],
                worker_runtime_env=worker_environment(workers),
            )
            kind = LoopbackTorchConfig if _on_loopback() else WatchedTorchConfig
            torch_config = kind(timeout_s=workers.timeout_seconds)
            return TorchTrainer(loop, torch_config=torch_config, run_config=run_config, **train)

        self._logs = log_folder(place, name)
        train["train_loop_config"]["logs"] = self._logs
        self._fit: Future[Any] = ThreadPoolExecutor(1).submit(_fitted, trainer, self._mailbox)

    def reports(self) -> Iterator[dict[str, Any]]:
        """What is handed in, until the workers have ended; the last says why, if they could not continue."""
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
            logs = f"logs by worker: {shown(self._logs)}" if logs_exist(self._logs) else ""
            yield reason or failure(_cause(error), logs)

    def answer(self, report: str, *, continues: bool) -> None:
        """Tell the workers whether to continue after the report of this name."""
        ray.get(self._mailbox.answer.remote(report, continues))

    def wait(self) -> None:
        """Wait until the workers have ended, as they do when asked to."""
        wait([self._fit], STOP_SECONDS)

    def _next(self) -> dict[str, Any] | None:
        """None when all have been taken and the workers have ended."""
        while True:
            has_ended = self._fit.done()
            report: dict[str, Any] | None = ray.get(self._mailbox.take.remote())
            if report is not None or has_ended:
                return report


def _fitted(trainer: Callable[[int], TorchTrainer], mailbox: Any) -> Any:
    """Run a trainer that takes so many faults, again and from its newest checkpoint if a worker dies at its start.

    Workers that die later are started again by Ray Train itself.
    """
    for faults in range(MAX_FAULTS + 1):
        try:
            return trainer(MAX_FAULTS - faults).fit()
        except ControllerError as error:
            if faults == MAX_FAULTS or not isinstance(error.controller_failure, StartError | RayActorError):
                raise
            ray.get(mailbox.hand_in.remote({RESTARTED: one_line(error.controller_failure)}))
    raise AssertionError("it has returned or raised")


class CannotGoOnError(Exception):
    """A worker has handed in why the training can't continue: all are to end, and not to be started again."""


@contextlib.contextmanager
def errors_handed_in(mailbox: Any) -> Iterator[None]:
    """Within a worker: hand in an error that would come again, and have all workers end, be it on this one alone.

    Any other may come from a worker that died, and is raised for Ray Train to start all of them again.
    """
    try:
        yield
    except Exception as error:
        if not _would_come_again(error):
            raise
        ray.get(mailbox.hand_in.remote(failure(error)))
        raise CannotGoOnError(one_line(error)) from None


def _would_come_again(error: Exception) -> bool:
    """Whether it is no error of the kinds that Ray, and torch in a collective, raise if another worker has died."""
    return isinstance(error, torch.OutOfMemoryError) or not isinstance(error, RuntimeError | ConnectionError | RayError)


def _cause(error: BaseException) -> BaseException:
    """Of what Ray Train raises for all workers: rather that one died than that others lost it."""
    if isinstance(error, ControllerError) and isinstance(error.controller_failure, StartError):
        return error.controller_failure
    if not isinstance(error, WorkerGroupError):
        return error
    failures = list(error.worker_failures.values())
    died = [each.health_check_failure for each in failures if isinstance(each, health_check_error())]
    return (died or failures)[0]


class _ToDesk(UserCallback):
    """Hands in what the workers have reported once Ray Train has stored it, and that workers have died."""

    def __init__(self, mailbox: Any) -> None:
        self._mailbox = mailbox

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        stored = {} if checkpoint is None else {CHECKPOINT: checkpoint.path}
        ray.get(self._mailbox.hand_in.remote(metrics[0] | stored))

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        for error in worker_exceptions.values():
            if isinstance(error, CannotGoOnError):
                raise error  # in a callback, it ends the run at once, with all workers, whatever FailureConfig allows
        ray.get(self._mailbox.hand_in.remote({RESTARTED: one_line(next(iter(worker_exceptions.values())))}))


def _mailbox() -> Any:
    """A mailbox on this node, which lasts as long as its owner; Ray would put it where a worker's node may die."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(Mailbox).remote()


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
    variables = {} if workers.gpus else {"CUDA_VISIBLE_DEVICES": ""}
    variables |= loopback_group.ENVIRONMENT if _on_loopback() else {}
    return {"env_vars": variables} if variables else {}


def _on_loopback() -> bool:
    """Whether this Ray is closed to other machines, as `local_ray` starts it."""
    return bool(ray.util.get_node_ip_address() == loopback_group.LOOPBACK)
