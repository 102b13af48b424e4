"""What a worker does with an error, and several workers of which one can't continue."""

import os
import signal
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from ray.exceptions import RayTaskError

from harness.config import Workers
from harness.trials import loopback_group, worker_group
from harness.trials.loopback_group import LoopbackTorchConfig
from harness.trials.mailbox import Mailbox
from harness.trials.messages import FAILURE, LOG, RESTARTED
from harness.trials.worker_group import MAX_FAULTS, CannotGoOnError, WorkerRun, errors_handed_in
from ndcl.errors import NonFiniteLossError, UserError
from ndcl.parallel import Group
from tests.integration.train_workers import train_workers

TWO = Workers(least=2, most=2)


@pytest.mark.parametrize(
    "error",
    [
        UserError("image 4.jpg cannot be decoded"),
        NonFiniteLossError("the loss became NaN"),
        FileNotFoundError("no such file"),
        torch.OutOfMemoryError("CUDA out of memory"),
        KeyError("epoch"),
    ],
)
def test_an_error_that_would_come_again_is_handed_in_and_ends_all(error: Exception, local_ray_session: None) -> None:
    mailbox = ray.remote(num_cpus=0)(Mailbox).remote()
    line = f"{type(error).__name__}: {error}"
    with pytest.raises(CannotGoOnError, match=line), errors_handed_in(mailbox):
        raise error
    report = ray.get(mailbox.take.remote())
    assert report[FAILURE] == line
    assert ("in test_an_error" in report[LOG]) is not isinstance(error, UserError)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Connection closed by peer"),
        torch.distributed.DistBackendError("NCCL"),
        ConnectionResetError(),
        RayTaskError("hand_in", "", ValueError()),
    ],
)
def test_what_another_workers_death_may_be_the_cause_of_is_left_to_ray_train(error: Exception) -> None:
    with pytest.raises(type(error)), errors_handed_in(None):
        raise error


def wait_for_the_second(config: dict[str, Any]) -> None:
    """The first worker waits for the second, which raises an error of the configured type."""
    group = Group.current()
    with errors_handed_in(config["mailbox"]):
        if group.is_first:
            group.barrier()
        else:
            raise config["error"]


@pytest.mark.soak
@pytest.mark.parametrize(("error", "starts"), [(OSError("no such disk"), 1), (RuntimeError("no peer"), 1 + MAX_FAULTS)])
def test_no_worker_waits_for_one_that_cannot_go_on(
    error: Exception, starts: int, tmp_path: Path, local_ray_session: None
) -> None:
    """Its quick witness: `test_an_exploding_loss_fails_its_trial_at_once` in tests/distributed."""
    run = WorkerRun(wait_for_the_second, {"error": error}, TWO, str(tmp_path), "run")
    *restarts, last = run.reports()
    assert len(restarts) == starts - 1
    assert last[FAILURE] == f"{type(error).__name__}: {error}", "these workers write no logs, so that none are named"
    deadline = time.monotonic() + 30
    while ray.available_resources().get("CPU") != 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def wait_to_be_lost(config: dict[str, Any]) -> None:
    """Report that this life has begun; in the first one the workers wait until one of them is killed."""
    if not Path(config["lost"]).exists():
        ray.train.report({"begun": True})
        threading.Event().wait()
    Group.current().barrier()


def test_all_workers_are_started_again_where_one_is_lost(tmp_path: Path, local_ray_session: None) -> None:
    """Trainings that lose workers are in tests/distributed."""
    lost = tmp_path / "lost"
    reports = WorkerRun(wait_to_be_lost, {"lost": str(lost)}, TWO, str(tmp_path), "run").reports()
    assert next(reports) == {"begun": True}
    lost.touch()
    os.kill(train_workers(os.getpid())[-1], signal.SIGKILL)
    [restart] = reports
    assert RESTARTED in restart


@dataclass
class LosesWorkers(LoopbackTorchConfig):
    """While torch.distributed is being prepared a worker is lost, as often as there are files in a folder."""

    folder: str = ""

    @property
    def backend_cls(self) -> type[Any]:
        return _LosesWorkers


class _LosesWorkers(loopback_group._LoopbackBackend):
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        super().on_start(_Losing(worker_group, backend_config.folder), backend_config)


class _Losing:
    """A worker group of which the second worker dies when all are asked for something."""

    def __init__(self, group: Any, folder: str) -> None:
        self._group, self._folder = group, folder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._group, name)

    def __len__(self) -> int:
        return len(self._group)

    def execute_single(self, *arguments: Any, **options: Any) -> Any:
        for path in list(Path(self._folder).iterdir())[:1]:
            path.unlink()
            self._group.execute_single(1, die)
        return self._group.execute_single(*arguments, **options)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def meet(config: dict[str, Any]) -> None:
    Group.current().barrier()
    ray.train.report({"met": True})


@pytest.mark.parametrize(("times", "ended"), [(1, True), pytest.param(MAX_FAULTS + 1, False, marks=pytest.mark.soak)])
def test_a_worker_that_is_lost_at_its_start_is_started_again(
    times: int, ended: bool, tmp_path: Path, local_ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray Train would wait for ever."""
    losses = tmp_path / "losses"
    losses.mkdir()
    for number in range(times):
        (losses / str(number)).touch()
    monkeypatch.setattr(worker_group, "LoopbackTorchConfig", partial(LosesWorkers, folder=str(losses)))
    *restarts, last = WorkerRun(meet, {}, TWO, str(tmp_path), "run").reports()
    assert len(restarts) == min(times, MAX_FAULTS)
    assert all("StartError" in restart[RESTARTED] for restart in restarts)
    assert last == {"met": True} if ended else "StartError" in last[FAILURE]
