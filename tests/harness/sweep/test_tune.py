"""What is told of a process that was lost, from what Ray Tune notes of it."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from ray.tune.schedulers import TrialScheduler

from harness.sweep.controller import SweepController
from harness.sweep.tune import SweepScheduler, _newest_failure
from harness.trials.messages import CHECKPOINT, NOTICE

HEAD = "Failure # {} (occurred at 2026-11-28_16-43-10)"
IN_PYTHON = """The actor or task with ID abc cannot be scheduled.
\x1b[36mray::ImplicitFunc.train()\x1b[39m (pid=14953, ip=192.0.2.2, repr=run_trial)
  File "trial.py", line 50, in run_trial
    raise error
torch.AcceleratorError: CUDA error: an illegal memory access was encountered
CUDA kernel errors might be asynchronously reported at some other API call"""
OF_RAY = """ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.
\tclass_name: ImplicitFunc
Worker exit detail: Worker unexpectedly exits with a connection error code 2."""


@pytest.mark.parametrize(
    ("log", "told"),
    [
        (
            f"{HEAD.format(1)}\nray.exceptions.RayTaskError(AcceleratorError): {IN_PYTHON}\n",
            "torch.AcceleratorError: CUDA error: an illegal memory access was encountered",
        ),
        (f"{HEAD.format(1)}\nTraceback\n{HEAD.format(2)}\n{OF_RAY}\n", OF_RAY.splitlines()[0]),
        (f"{HEAD.format(1)}\n", "unknown error"),
        ("", "unknown error"),
    ],
)
def test_the_newest_failure_is_told_in_one_telling_line(log: str, told: str) -> None:
    assert _newest_failure(log) == told


class Noted:
    """Stands for the controller."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []

    def on_checkpoint(self, name: str, path: str) -> None:
        self.calls.append(("checkpoint", name, path))

    def on_notice(self, name: str) -> None:
        self.calls.append(("notice", name))


def test_a_trial_that_is_given_back_leaves_its_checkpoint_and_counts_no_failure() -> None:
    noted, trial = Noted(), SimpleNamespace(config={"name": "a"}, run_metadata=SimpleNamespace(num_failures=0))
    scheduler = SweepScheduler(cast(SweepController, noted))
    result = {NOTICE: "{}", CHECKPOINT: "run-0001/a/checkpoint_0"}
    assert scheduler.on_trial_result(None, cast(Any, trial), result) == TrialScheduler.CONTINUE
    assert noted.calls == [("checkpoint", "a", "run-0001/a/checkpoint_0"), ("notice", "a")]
    assert trial.run_metadata.num_failures == -1  # its process raises next, which Tune counts
