"""What a worker does with an error, and several workers of which one can't go on."""

import time
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from ray.exceptions import RayTaskError

from harness.desk import Desk
from harness.trial import FAILURE, LOG
from harness.worker_run import MAX_FAULTS, CannotGoOnError, WorkerRun, errors_handed_in
from harness.workers import Workers
from ndcl.errors import NonFiniteLossError, UserError
from ndcl.parallel import Group

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
    desk = ray.remote(num_cpus=0)(Desk).remote()
    line = f"{type(error).__name__}: {error}"
    with pytest.raises(CannotGoOnError, match=line), errors_handed_in(desk):
        raise error
    report = ray.get(desk.take.remote())
    assert report[FAILURE] == line
    assert "in test_an_error" in report[LOG]


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
    with errors_handed_in(config["desk"]):
        if group.is_first:
            group.barrier()
        else:
            raise config["error"]


@pytest.mark.slow
@pytest.mark.parametrize(("error", "starts"), [(OSError("no such disk"), 1), (RuntimeError("no peer"), 1 + MAX_FAULTS)])
def test_no_worker_waits_for_one_that_cannot_go_on(
    error: Exception, starts: int, tmp_path: Path, local_ray_session: None
) -> None:
    run = WorkerRun(wait_for_the_second, {"error": error}, TWO, str(tmp_path), "run")
    *restarts, last = run.reports()
    assert len(restarts) == starts - 1
    assert last[FAILURE] == f"{type(error).__name__}: {error}"
    deadline = time.monotonic() + 30
    while ray.available_resources().get("CPU") != 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)
