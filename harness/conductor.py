"""What a sweep does at each of its events: a trial is wanted, has an evaluation, a checkpoint, has ended.

Ray Tune calls this through the thin classes of `scheduler.py`; here is no Ray. At every event the journal is
written first, since it is the truth, then Optuna is told, then whoever watches.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness import population
from harness.agenda import Agenda, Due, Select
from harness.checkpoints import AnyCheckpointFolders, trial_folder
from harness.records import ENDED, STAGES, WARM_STARTED, Journal, State, TrialRecord
from harness.revision import git_revision
from harness.search import StudySearch, open_storage
from harness.selection import best_checkpoint, select, with_one_confusion
from harness.sweep_folder import storage_problem
from harness.warm_start import warm_values
from ndcl.errors import UserError

if TYPE_CHECKING:
    from harness.plan import Plan, StudyPlan
    from harness.storage import Storage

Watcher = Callable[[TrialRecord], None]
"""Called with each record that has changed; it must be quick and must not raise."""


class Conductor:
    """The state of a running sweep."""

    def __init__(
        self,
        plan: "Plan",
        folders: AnyCheckpointFolders,
        select: Select,
        watch: Watcher,
        storage: "Storage | None" = None,
    ) -> None:
        self.plan = plan
        self.max_concurrent = 1
        """Trials that may run at once."""
        self.stages = STAGES
        """Of which trials are started; others wait until this is changed."""
        self.environment: dict[str, Any] = {"git_revision": git_revision(), "cluster": "local"}
        """What is known of where trials run before they do: this code's revision, and the cluster's address."""
        self._studies = {study.key.name: study for study in plan.studies}
        self._journal = Journal(plan.folder, storage)
        self._folders = folders
        self._watch = watch
        self._exchanges = population.Exchanges(plan.folder, storage)
        self._failures: dict[str, tuple[str, str]] = {}
        """What trainings have said of their failure: the reason, and the end of the log."""
        self._pruned: set[str] = set()
        self._arrived: set[str] = set()
        """Trials that have come to where they wait for their population."""
        self.agenda = Agenda(plan.studies, [self._recovered(record) for record in self._journal.read()], select)
        database = open_storage(plan.folder / "optuna.db")
        self._searches = {
            study.key.name: StudySearch(study, plan.name, database, warm_values(study, plan.results))
            for study in plan.studies
        }
        for study in plan.studies:
            self._searches[study.key.name].reconcile(self.agenda.search_records(study))
            self._keep_selected(study)
            self._advance(study)

    def next_trial(self) -> dict[str, Any] | None:
        """The next trial's config for `trial.run_trial`, or None if none is to be started before another ends."""
        while len(self.agenda.running()) < self.max_concurrent:
            due = self.agenda.next(self.stages)
            if due is None:
                return None
            record = self._started(due)
            record = replace(record, environment=record.environment | self.environment)
            self._put(record)
            if record.state == "running":
                return {
                    "name": record.name,
                    "folder": trial_folder(record.name, record.step),
                    "legs": _legs(due.study, record),
                    "resume_from": record.checkpoint,
                    "take_over": bool(record.schedule),
                    "num_threads": self.plan.occupied[record.stage].num_threads,
                }
            self._tell(record)
        return None

    @property
    def is_done(self) -> bool:
        """Whether nothing is running, and of the `stages` nothing is due."""
        return self.agenda.is_over(self.stages)

    def on_evaluation(self, name: str, evaluation: dict[str, Any]) -> bool:
        """Take note of a running trial's evaluation; whether the trial is to be stopped early."""
        record = with_one_confusion(self.agenda.records[name].with_evaluation(evaluation))
        self._put(record)
        if record.stage == "final":
            return False
        is_weak = self._searches[record.study.name].report(name, evaluation)
        if record.until is not None and record.step >= record.until:
            self._arrived.add(name)
            return True
        if not is_weak or _has_all_steps(record):
            return False
        self._pruned.add(name)
        return True

    def on_failure(self, name: str, reason: str, log: str = "") -> None:
        """The training says why it can't go on, with the end of its log; its end will follow.

        Raises OSError if the reason is a disk that can't be written: that is no fault of the trial's values.
        """
        if storage_problem(reason):
            raise OSError(reason)
        self._failures[name] = reason, log

    def on_checkpoint(self, name: str, path: str) -> None:
        """A new checkpoint is stored, at this path as Ray tells it; the trial's earlier ones go.

        One that has not arrived whole is passed over, and the earlier one stays.
        """
        folder = self._folders.address(path)
        if not self._folders.has_arrived(folder):
            return
        self._put(replace(self.agenda.records[name], checkpoint=folder))
        self._folders.keep_only(name, folder)

    def on_restart(self, name: str) -> None:
        """The trial's process died, and Ray starts it again."""
        record = self.agenda.records[name]
        self._put(replace(record, attempts=record.attempts + 1))

    def on_end(self, name: str, error: str | None = None, log: str = "") -> None:
        """The trial has ended; `error` says why its process could not go on, and `log` what is known of it."""
        record = self.agenda.records[name]
        error, log = self._failures.pop(name, (error, log))
        state, reason = self._outcome(record, error)
        kept = record.checkpoint if state == "finished" else self._folders.newest(name) if state == "waiting" else None
        ended = time.time() if state in ENDED else None
        record = replace(record, state=state, reason=reason, log=log, ended=ended, checkpoint=kept)
        self._put(record)
        self._tell(record)
        self._folders.keep_only(name, kept)
        self._keep_selected(self._studies[record.study.name])
        self._advance(self._studies[record.study.name])

    def _keep_selected(self, study: "StudyPlan") -> None:
        """Remove the checkpoints of search trials that are not among the best, if the plan wants it so."""
        if self.plan.keep_checkpoints == "all":
            return
        finished = [record for record in self.agenda.search_records(study) if record.state == "finished"]
        best = select(finished, study.top_k)
        for record in finished:
            if record not in best and record.checkpoint is not None:
                self._put(replace(record, checkpoint=None))
                self._folders.keep_only(record.name, None)

    def _advance(self, study: "StudyPlan") -> None:
        """Let a population go on once all of it has come as far as it may.

        What is decided is written down before the first record changes, so that a kill in between changes nothing.
        """
        members = {record.name: record for record in self.agenda.search_records(study)}
        waiting = population.waiting_at(list(members.values()))
        if not waiting:
            return
        step = waiting[0].step
        moves = self._exchanges.read(study.key.name, step)
        if moves is None:
            if not population.is_gathered(study, list(members.values())):
                return
            moves = population.moves(study, waiting)
            self._exchanges.write(study.key.name, step, moves)
        until = population.next_stop(study, step)
        for move in moves:
            if members[move.name] in waiting:
                moved = self._moved(study, members[move.name], members[move.donor], move)
                self._put(replace(moved, until=until))
                self._folders.keep_only(moved.name, moved.checkpoint)

    def _moved(self, study: "StudyPlan", record: TrialRecord, donor: TrialRecord, move: population.Move) -> TrialRecord:
        """The record as it goes on: with the donor's weights and past and the new values, if there is a donor."""
        if donor.name == record.name:
            return record
        assert donor.checkpoint is not None, "a waiting trial has a checkpoint"
        return replace(
            record,
            schedule=population.taken_over(donor, move),
            config=study.train_config(move.values, record.config["seed"]).to_dict(),
            evaluations=donor.evaluations,
            checkpoint=self._folders.copy(donor.checkpoint, record.name),
            notes={**record.notes, f"weights taken over at step {record.step}": donor.name},
        )

    def interrupt(self) -> None:
        """The sweep stops now: what is running is to go on at the next start."""
        for record in self.agenda.running():
            self._put(replace(record, state="interrupted", checkpoint=self._folders.newest(record.name)))

    def _put(self, record: TrialRecord) -> None:
        self.agenda.put(record)
        self._journal.write(record)
        self._watch(record)

    def _tell(self, record: TrialRecord) -> None:
        if record.stage == "search" and record.state in ENDED:
            self._searches[record.study.name].tell(record)

    def _started(self, due: Due) -> TrialRecord:
        if due.interrupted is not None:
            self._folders.keep_only(due.name, due.interrupted.checkpoint)
            again = due.interrupted.state == "interrupted"  # one that waited goes on without having been disturbed
            return replace(due.interrupted, state="running", attempts=due.interrupted.attempts + again)
        now, study = time.time(), due.study
        record = TrialRecord(
            study=study.key, stage=due.stage, number=due.number, values={}, config=study.base, started=now
        )
        if due.repeats is not None:
            values, schedule = due.repeats.recipe
            config = study.final_config(due.repeats, due.seed).to_dict()
            return replace(record, values=values, schedule=schedule, config=config)
        values = self._searches[study.key.name].ask(due.name, due.number)
        spec = study.warm_start
        notes = {WARM_STARTED: spec.sweep} if spec is not None and spec.from_other_targets else {}
        record = replace(record, values=values, until=population.next_stop(study, 0), notes=notes)
        try:
            return replace(record, config=study.train_config(values, due.seed).to_dict())
        except UserError as error:  # values that are valid each, but not together
            return replace(record, state="failed", reason=str(error), ended=now)

    def _outcome(self, record: TrialRecord, error: str | None) -> tuple[State, str | None]:
        if error is not None:
            return "failed", error
        if record.name in self._pruned:
            self._pruned.remove(record.name)
            return "pruned", f"stopped early at step {record.step} by {self._pruner_of(record)}"
        if record.name in self._arrived:
            self._arrived.remove(record.name)
            return "waiting", None
        if not _has_all_steps(record):
            return "failed", "the training ended before its last step"
        if best_checkpoint(record) is None:
            return "failed", "no evaluation has a validation accuracy"
        return "finished", None

    def _pruner_of(self, record: TrialRecord) -> str:
        return self._searches[record.study.name].plan.scheduler.name

    def _recovered(self, record: TrialRecord) -> TrialRecord:
        """A record as it is to be taken at a start: what was running when the sweep was killed was interrupted."""
        if record.state in ENDED or record.state == "waiting":
            self._folders.keep_only(record.name, record.checkpoint)
            return record
        recovered = replace(record, state="interrupted", checkpoint=self._folders.newest(record.name))
        if _has_all_steps(record) and recovered.checkpoint is not None:
            recovered = replace(recovered, state="finished", ended=record.ended or time.time())
        elif record.until is not None and record.step >= record.until and recovered.checkpoint is not None:
            recovered = replace(recovered, state="waiting")
        self._journal.write(recovered)
        if recovered.state != "interrupted":  # or else a process that outlived its driver may yet write one
            self._folders.keep_only(recovered.name, recovered.checkpoint)
        return recovered

    def __reduce__(self) -> tuple[Any, ...]:
        """Ray Tune pickles what it is given, for a restore that is never used; nothing of a sweep goes there."""
        return str, ("conductor",)


def _legs(study: "StudyPlan", record: TrialRecord) -> list[dict[str, Any]]:
    """The configs that a trial trains by one after the other, each with the step from which on it holds."""
    kept = {key: record.config[key] for key in ("seed", "select_by", "num_steps")}
    changes = record.schedule if record.stage == "final" else ()
    return [
        {"from_step": 0, "train": record.config},
        *(
            {"from_step": change["step"], "train": study.train_config(change["values"]).to_dict() | kept}
            for change in changes
            if change["step"] < kept["num_steps"]
        ),
    ]


def _has_all_steps(record: TrialRecord) -> bool:
    return record.step >= int(record.config["num_steps"])
