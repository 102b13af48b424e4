"""A trial on several workers: the loop of `trial.py` under Ray Train, as a Tune trainable that trains nothing itself.

The workers stand still after each evaluation until the sweep has taken note of it and says whether to continue, as a
trial in one process does. So a trial that is stopped early ends alone, and leaves neither a worker nor a placement
group behind. It is what `Mailbox` is for: Ray Train carries reports one way only.
"""

import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray import tune

from harness.cluster.notice import NodeNotice, is_guarded
from harness.config import Workers
from harness.storage.scratch import scratch_folder
from harness.trials.messages import EVALUATION, NOTICE
from harness.trials.rank_logs import kept_log
from harness.trials.trial import AnyTraining, NodeTakenError, evaluated, write_checkpoint
from harness.trials.worker_group import WorkerRun, errors_handed_in
from ndcl.parallel import Group

REPORT = "report"
"""Key of a report's own name, by which it is answered."""
DRIVER = {"node:__internal_head__": 0.001}
"""What a trial occupies beside its workers: nothing that they could be short of, or drivers would wait for each other's
workers for ever. Every Ray has this resource on its head node."""


class GivenBackError(Exception):
    """The trial ends here, and continues on nodes that stay."""


class DistributedTrial(tune.Trainable):
    """One trial. Each step of Tune's is a report; asking for the next means that the training may continue."""

    workers: Workers
    run_place: str

    def setup(self, config: dict[str, Any]) -> None:
        """Start the workers."""
        self._run = WorkerRun(train_worker, {"trial": config}, self.workers, self.run_place, config["folder"])
        self._unanswered: str | None = None
        self._reports = self._all_reports()

    def step(self) -> dict[str, Any]:
        """The next report; the last has nothing but Tune's `done`."""
        return next(self._reports, {"done": True})

    def cleanup(self) -> None:
        """Have the workers end, if they have not."""
        self._answer(continues=False)
        self._run.wait()

    def _all_reports(self) -> Iterator[dict[str, Any]]:
        for report in self._run.reports():
            self._unanswered = report.pop(REPORT, None)
            yield report
            if NOTICE in report:
                self.cleanup()
                raise GivenBackError("a node of its workers is to be taken away; all have stopped after the same step")
            self._answer(continues=True)

    def _answer(self, *, continues: bool) -> None:
        if self._unanswered is not None:
            self._run.answer(self._unanswered, continues=continues)
            self._unanswered = None


def distributed_trial(workers: Workers, run_place: str) -> type[DistributedTrial]:
    """The trainable of a sweep whose trials have several workers; checkpoints go to <trial> below `run_place`."""
    attributes = {"workers": workers, "run_place": run_place}
    return type("DistributedTrial", (DistributedTrial,), attributes)


def train_worker(config: dict[str, Any]) -> None:
    """What each worker does: its part of the training, until that has ended or is to be stopped."""
    is_to_stop = NodeNotice() if Group.current().has_any(is_guarded()) else None
    with kept_log(config["logs"]), errors_handed_in(config["mailbox"]):
        try:
            for training, evaluation in evaluated(config["trial"], ray.train.get_checkpoint(), is_to_stop):
                if not _continues(config["mailbox"], training, evaluation):
                    return
        except NodeTakenError as notice:
            _continues(config["mailbox"], notice.training, notice.evaluation, NOTICE)


def _continues(mailbox: Any, training: AnyTraining | None, evaluation: str, key: str = EVALUATION) -> bool:
    """Report an evaluation with a checkpoint, and wait for the answer, which is the same on all workers."""
    group, name = Group.current(), uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="checkpoint-", dir=scratch_folder()) as folder:
        if training is not None:
            write_checkpoint(Path(folder), training, evaluation)
        checkpoint = None
        if training is not None and group.is_first:
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report({key: evaluation, REPORT: name} if group.is_first else {}, checkpoint)
    [continues] = group.from_first([ray.get(mailbox.answer_to.remote(name)) if group.is_first else False])
    return bool(continues)
