"""What a sweep does at each of its events: a trial is wanted, has an evaluation, a checkpoint, has ended.

Ray Tune calls this through the thin classes of `scheduler.py`; here is no Ray. At every event the journal is
written first, since it is the truth, then Optuna is told, then whoever watches.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness.agenda import Agenda, Due, Select
from harness.checkpoints import CheckpointFolders
from harness.records import ENDED, Journal, State, TrialRecord
from harness.search import StudySearch, open_storage
from harness.selection import best_checkpoint
from harness.sweep_folder import storage_problem
from ndcl.errors import UserError

if TYPE_CHECKING:
    from harness.plan import Plan

Watcher = Callable[[TrialRecord], None]
"""Called with each record that has changed; it must be quick and must not raise."""


class Conductor:
    """The state of a running sweep."""

    def __init__(self, plan: "Plan", folders: CheckpointFolders, select: Select, watch: Watcher) -> None:
        self.plan = plan
        self.max_concurrent = 1
        """Trials that may run at once."""
        self._journal = Journal(plan.folder)
        self._folders = folders
        self._watch = watch
        self._failures: dict[str, str] = {}
        self._pruned: set[str] = set()
        self.agenda = Agenda(plan.studies, [self._recovered(record) for record in self._journal.read()], select)
        storage = open_storage(plan.folder / "optuna.db")
        self._searches = {study.key.name: StudySearch(study, plan.name, storage) for study in plan.studies}
        for study in plan.studies:
            self._searches[study.key.name].reconcile(self.agenda.search_records(study))

    def next_trial(self) -> dict[str, Any] | None:
        """The next trial's config for `trial.run_trial`, or None if none is to be started before another ends."""
        while len(self.agenda.running()) < self.max_concurrent:
            due = self.agenda.next()
            if due is None:
                return None
            record = self._started(due)
            self._put(record)
            if record.state == "running":
                return {
                    "name": record.name,
                    "train": record.config,
                    "resume_from": record.checkpoint,
                    "num_threads": max(1, int(self.plan.cpus_per_trial)),
                }
            self._tell(record)
        return None

    def on_evaluation(self, name: str, evaluation: dict[str, Any]) -> bool:
        """Take note of a running trial's evaluation; whether the trial is to be stopped early."""
        record = self.agenda.records[name].with_evaluation(evaluation)
        self._put(record)
        if record.stage == "final" or not self._searches[record.study.name].report(name, evaluation):
            return False
        if _has_all_steps(record):
            return False
        self._pruned.add(name)
        return True

    def on_failure(self, name: str, reason: str) -> None:
        """The training says why it can't go on; its end will follow.

        Raises OSError if the reason is a disk that can't be written: that is no fault of the trial's values.
        """
        if storage_problem(reason):
            raise OSError(reason)
        self._failures[name] = reason

    def on_checkpoint(self, name: str, folder: str) -> None:
        """A new checkpoint is stored; the trial's earlier ones go."""
        self._put(replace(self.agenda.records[name], checkpoint=folder))
        self._folders.keep_only(name, folder)

    def on_restart(self, name: str) -> None:
        """The trial's process died, and Ray starts it again."""
        record = self.agenda.records[name]
        self._put(replace(record, attempts=record.attempts + 1))

    def on_end(self, name: str, error: str | None = None) -> None:
        """The trial has ended; `error` says why its process could not go on."""
        record = self.agenda.records[name]
        state, reason = self._outcome(record, error)
        kept = record.checkpoint if state == "finished" else None
        record = replace(record, state=state, reason=reason, ended=time.time(), checkpoint=kept)
        self._put(record)
        self._tell(record)
        self._folders.keep_only(name, kept)

    def interrupt(self) -> None:
        """The sweep stops now: what is running is to go on at the next start."""
        for record in self.agenda.running():
            self._put(replace(record, state="interrupted", checkpoint=self._folders.newest(record.name)))

    def _put(self, record: TrialRecord) -> None:
        self.agenda.put(record)
        self._journal.write(record)
        self._watch(record)

    def _tell(self, record: TrialRecord) -> None:
        if record.stage == "search":
            self._searches[record.study.name].tell(record)

    def _started(self, due: Due) -> TrialRecord:
        if due.interrupted is not None:
            return replace(due.interrupted, state="running", attempts=due.interrupted.attempts + 1)
        values = self._searches[due.study.key.name].ask(due.name) if due.values is None else due.values
        now = time.time()
        record = TrialRecord(
            study=due.study.key, stage=due.stage, number=due.number, values=values, config=due.study.base, started=now
        )
        try:
            return replace(record, config=due.study.train_config(values, due.seed).to_dict())
        except UserError as error:  # values that are valid each, but not together
            return replace(record, state="failed", reason=str(error), ended=now)

    def _outcome(self, record: TrialRecord, error: str | None) -> tuple[State, str | None]:
        failure = self._failures.pop(record.name, None) or error
        if failure is not None:
            return "failed", failure
        if record.name in self._pruned:
            self._pruned.remove(record.name)
            return "pruned", f"stopped early at step {record.evaluations[-1]['step']} by {self._pruner_of(record)}"
        if not _has_all_steps(record):
            return "failed", "the training ended before its last step"
        if best_checkpoint(record) is None:
            return "failed", "no evaluation has a validation accuracy"
        return "finished", None

    def _pruner_of(self, record: TrialRecord) -> str:
        return self._searches[record.study.name].plan.pruner.name

    def _recovered(self, record: TrialRecord) -> TrialRecord:
        """A record as it is to be taken at a start: what was running when the sweep was killed was interrupted."""
        if record.state in ENDED:
            self._folders.keep_only(record.name, record.checkpoint)
            return record
        recovered = replace(record, state="interrupted", checkpoint=self._folders.newest(record.name))
        if _has_all_steps(record) and recovered.checkpoint is not None:
            recovered = replace(recovered, state="finished", ended=record.ended or time.time())
        self._journal.write(recovered)
        return recovered

    def __reduce__(self) -> tuple[Any, ...]:
        """Ray Tune pickles what it is given, for a restore that is never used; nothing of a sweep goes there."""
        return str, ("conductor",)


def _has_all_steps(record: TrialRecord) -> bool:
    return bool(record.evaluations) and record.evaluations[-1]["step"] >= record.config["num_steps"]
