"""What the driver of several workers does with their reports, without Ray."""

from collections.abc import Iterator
from typing import Any

import pytest

from harness.trials.distributed_trial import REPORT, DistributedTrial, GivenBackError
from harness.trials.messages import CHECKPOINT, EVALUATION, NOTICE


class Workers:
    """Stands for `WorkerRun`: hands in what it is given, and keeps what it was told."""

    def __init__(self, *reports: dict[str, Any]) -> None:
        self.told: list[Any] = []
        self._reports = reports

    def reports(self) -> Iterator[dict[str, Any]]:
        yield from self._reports

    def answer(self, report: str, *, continues: bool) -> None:
        self.told.append((report, continues))

    def wait(self) -> None:
        self.told.append("ended")


def trial_of(workers: Workers) -> DistributedTrial:
    trial = object.__new__(DistributedTrial)
    trial._run, trial._unanswered = workers, None  # type: ignore[assignment]
    trial._reports = trial._all_reports()
    return trial


def test_at_a_notice_the_workers_end_and_the_trial_raises_once_its_checkpoint_is_known() -> None:
    notice = {NOTICE: "{}", REPORT: "second", CHECKPOINT: "run-0001/a/checkpoint"}
    workers = Workers({EVALUATION: "{}", REPORT: "first"}, notice)
    trial = trial_of(workers)
    assert trial.step() == {EVALUATION: "{}"}
    assert trial.step() == {NOTICE: "{}", CHECKPOINT: "run-0001/a/checkpoint"}
    assert workers.told == [("first", True)]
    with pytest.raises(GivenBackError, match="a node of its workers is to be taken away"):
        trial.step()
    assert workers.told == [("first", True), ("second", False), "ended"]
