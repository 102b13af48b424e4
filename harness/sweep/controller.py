"""What a sweep does at each of its events: a trial is wanted, has an evaluation, a checkpoint, has ended.

Ray Tune calls this through the thin classes of `tune.py`; here is no Ray. At every event the journal is
written first, since it is the truth; then Optuna and whoever watches are notified.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.cluster.notice import NodeNotice
from harness.plan.warm_start import warm_values
from harness.records import ENDED, STAGES, Journal, State, TrialRecord, best_checkpoint, select
from harness.records.record import AVERAGED, CHECKPOINT_BY, FIRST_VALUES, WARM_STARTED, phase_of
from harness.records.revision import git_revision
from harness.records.selection import checkpoint_criteria, with_one_confusion
from harness.search import population
from harness.search.population_journal import PopulationJournal
from harness.search.study_search import StudySearch, open_storage
from harness.state import SweepState, promotion
from harness.state.bound_data import Source, bound_digests, replaced_meanwhile
from harness.state.sweep_state import NextTrial, Select
from harness.storage import AnyCheckpointFolders
from harness.storage.checkpoints import CHECKPOINT_GONE, trial_folder
from harness.storage.folder import OPTUNA_FILE, storage_problem
from ndcl.errors import ReplacedDataError, UnusableGpuError, UserError

if TYPE_CHECKING:
    from harness.plan import Plan, StudyPlan
    from harness.storage import Storage

Watcher = Callable[[TrialRecord], None]
"""Called with each record that has changed; it must be quick and must not raise."""


class Fate(NamedTuple):
    """How a trial ends."""

    state: State
    reason: str | None = None
    log: str = ""
    """Its end."""


class SweepController:
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
        put = None if storage is None else storage.put
        self._journal = Journal(plan.folder, put)
        self._folders = folders
        self._watch = watch
        self._exchanges = PopulationJournal(plan.folder, put)
        self._fates: dict[str, Fate] = {}
        """How running trials will end, as far as that is decided."""
        self._digests = bound_digests(plan.folder)
        self.started_anew: list[str] = []
        """Trials that had come further, and whose checkpoints are gone."""
        self.is_taken = NodeNotice()
        """Whether this machine is to be taken away, as Slurm tells all nodes of a job: then no trial is started."""
        self._given_back: set[str] = set()
        """Trials that have left a checkpoint since."""
        self.fault: UserError | None = None
        """What the sweep has to end with: a machine's fault, or other data, by which each trial would fail."""
        self.sweep_state = SweepState(
            plan.studies, [self._recovered(record) for record in self._journal.read()], select
        )
        database = open_storage(plan.folder / OPTUNA_FILE)
        self._searches = {
            study.key.name: StudySearch(study, plan.name, database, warm_values(study, plan.results))
            for study in plan.studies
        }

    def catch_up(self) -> None:
        """Do what follows from the records and a kill may have left undone. Call it once, before the first trial."""
        for study in self.plan.studies:
            self._searches[study.key.name].reconcile(self.sweep_state.search_records(study))
            self._keep_selected(study)
            self._advance(study)

    def next_trial(self) -> dict[str, Any] | None:
        """The next trial's config for `trial.run_trial`, or None if none is to be started before another ends."""
        while len(self.sweep_state.running()) < self.max_concurrent and not self.is_taken():
            due = self.sweep_state.next(self.stages)
            if due is None:
                return None
            record, occupied = self._started(due), self.plan.occupied[phase_of(due.stage)]
            record = replace(record, environment=record.environment | self.environment)
            self._put(record)
            if record.state == "running":
                return {
                    "name": record.name,
                    "folder": trial_folder(record.name, record.step if record.checkpoint else 0),
                    "segments": _segments(due.study, record),
                    "members": [_member(member) for member in due.members],
                    "averages_weights": bool(record.notes.get(AVERAGED)),
                    "resume_from": record.checkpoint,
                    "take_over": bool(record.schedule),
                    "digest": self._digests.get(Source.of(record.config)),
                    "num_threads": occupied.num_threads,
                    "num_gpus": occupied.gpus,
                    "working_folder": str(Path.cwd()),
                }
            self._tell(record)
            self._advance(due.study)
        return None

    @property
    def is_done(self) -> bool:
        """Whether nothing is running, and of the `stages` nothing is due."""
        return self.sweep_state.is_over(self.stages)

    def on_evaluation(self, name: str, evaluation: dict[str, Any]) -> bool:
        """Take note of a running trial's evaluation; whether the trial is to be stopped early."""
        self._fates.pop(name, None)  # of before a fault, after which the trial is decided on anew
        record = with_one_confusion(self.sweep_state.records[name].with_evaluation(evaluation))
        self._put(record)
        if record.stage != "search":
            return False
        is_weak = self._searches[record.study.name].report(name, evaluation)
        if record.until is not None and record.step >= record.until:
            self._fates[name] = Fate("waiting")
            return True
        if not is_weak or _has_all_steps(record):
            return False
        pruner = self._searches[record.study.name].plan.scheduler.name
        self._fates[name] = Fate("pruned", f"stopped early at step {record.step} by {pruner}")
        return True

    def on_failure(self, name: str, reason: str, log: str = "") -> None:
        """The training says why it can't continue, with the end of its log; its end will follow.

        Raises OSError if the reason is a disk that can't be written, and UserError, which is also the `fault`, if it is
        a GPU that can't be used or data that are not those of the sweep: none of them is a fault of the trial's values.
        """
        if reason.startswith(f"{ReplacedDataError.__name__}: "):
            self.fault = replaced_meanwhile(self.plan, reason.removeprefix(f"{ReplacedDataError.__name__}: "))
            raise self.fault
        if storage_problem(reason):
            raise OSError(reason)
        if reason.startswith(UnusableGpuError.__name__):
            self.fault = UserError(f"{name}: {reason.partition(': ')[2]}, then run the same command again")
            raise self.fault
        self._fates[name] = Fate("failed", reason, log)

    def on_checkpoint(self, name: str, path: str) -> None:
        """A new checkpoint is stored, at this path as Ray tells it; the trial's earlier ones go.

        One that has not arrived whole is passed over, and the earlier one stays.
        """
        folder = self._folders.address(path)
        if not self._folders.has_arrived(folder):
            return
        self._put(replace(self.sweep_state.records[name], checkpoint=folder))
        self._folders.keep_only(name, folder)

    def on_restart(self, name: str) -> None:
        """The trial's process died, and Ray starts it again."""
        self._fates.pop(name, None)
        record = self.sweep_state.records[name]
        self._put(replace(record, attempts=record.attempts + 1))

    def on_notice(self, name: str) -> None:
        """The trial has left a checkpoint, since its node is to be taken away, and continues on another one if any."""
        if self.is_taken():
            self._given_back.add(name)

    @property
    def is_given_back(self) -> bool:
        """Whether the sweep's own machine is to be taken away, and every trial that ran has left a checkpoint."""
        return self.is_taken() and {record.name for record in self.sweep_state.running()} <= self._given_back

    def on_end(self, name: str, error: str | None = None, log: str = "") -> None:
        """The trial has ended; `error` says why its process could not continue, and `log` what is known of it."""
        record = self.sweep_state.records[name]
        state, reason, log = self._outcome(record, error, log)
        kept = record.checkpoint if state == "finished" else self._folders.newest(name) if state == "waiting" else None
        if self._is_lost(record, state, kept):
            state, reason = "failed", f"{CHECKPOINT_GONE} from {self._folders.place}, so that it could not continue"
        ended = time.time() if state in ENDED else None
        record = replace(record, state=state, reason=reason, log=log, ended=ended, checkpoint=kept)
        self._put(record)
        self._tell(record)
        self._folders.keep_only(name, kept)
        self._keep_selected(self._studies[record.study.name])
        self._advance(self._studies[record.study.name])

    def _is_lost(self, record: TrialRecord, state: State, kept: str | None) -> bool:
        """Whether a trial could not continue since its checkpoint was removed while the sweep ran."""
        if state == "failed":
            return record.checkpoint is not None and self._folders.newest(record.name) is None
        return state == "waiting" and kept is None

    def _keep_selected(self, study: "StudyPlan") -> None:
        """Remove the checkpoints of search trials that are not among the best, if the plan wants it so.

        Of a second look nothing is needed any more.
        """
        if self.plan.keep_checkpoints == "all":
            return
        finished = [record for record in self.sweep_state.judged_records(study) if record.state == "finished"]
        best = select(finished, study.num_kept)
        for record in finished:
            if record not in best and record.checkpoint is not None:
                self._put(replace(record, checkpoint=None))
                self._folders.keep_only(record.name, None)

    def _advance(self, study: "StudyPlan") -> None:
        """Let trials that wait continue or end, if that is due."""
        if study.scheduler.name == "pbt":
            self._exchange(study)
        self._end_waiting(study)

    def _end_waiting(self, study: "StudyPlan") -> None:
        """Once nothing of a search can be promoted any more, end the trials that wait for it.

        So it is in a study that is stopped, once nothing of it is on its way, also for a population.
        """
        records = self.sweep_state.search_records(study)
        waiting = [record for record in records if record.is_waiting]
        if not waiting:
            return
        is_stopped = all(record.has_stopped for record in records) and self.sweep_state.stop_reason(study)
        if not is_stopped and not promotion.is_spent(study, records):
            return
        for record in waiting:
            verb = "exchanged" if study.scheduler.name == "pbt" else "promoted"
            reason = f"never {verb} by {study.scheduler.name} from step {record.step}"
            ended = replace(promotion.after_pause(record), state="pruned", reason=reason, ended=time.time())
            self._put(replace(ended, checkpoint=None))
            self._tell(ended)
            self._folders.keep_only(record.name, None)

    def _exchange(self, study: "StudyPlan") -> None:
        """Let a population continue once all of it has come as far as it may.

        What is decided is written down before the first record changes, so that a kill in between changes nothing.
        """
        members = {record.name: record for record in self.sweep_state.search_records(study)}
        waiting = [record for record in members.values() if record.is_waiting]
        if not waiting:
            return
        step = min(record.step for record in waiting)
        there = [record for record in waiting if record.step == step]
        decided = self._exchanges.read(study.key.name, step)
        if decided is None:
            if not population.is_gathered(study, list(members.values())):
                return
            decided = population.moves(study, there)
            self._exchanges.write(study.key.name, step, decided)
        until, moves = population.next_stop(study, step), {move.name: move for move in decided}
        for record in there:
            move = moves.get(record.name)  # one that took the place of a lost one has none
            donor = None if move is None else members.get(move.donor)
            moved = record if move is None or donor is None else self._moved(study, record, donor, move)
            self._put(replace(moved, until=until))
            self._folders.keep_only(moved.name, moved.checkpoint)

    def _moved(self, study: "StudyPlan", record: TrialRecord, donor: TrialRecord, move: population.Move) -> TrialRecord:
        """The record as it continues: with the donor's weights and past and the new values, if there is a donor.

        One whose checkpoint has been removed meanwhile can't give any.
        """
        if donor.name == record.name or donor.checkpoint is None:
            return record
        return replace(
            record,
            schedule=population.taken_over(donor, move),
            config=study.train_config(move.values, record.config["seed"]).to_dict(),
            evaluations=donor.evaluations,
            checkpoint=self._folders.copy(donor.checkpoint, record.name),
            notes={**record.notes, f"weights taken over at step {record.step}": donor.name},
        )

    def interrupt(self) -> None:
        """The sweep stops now: what is running is to continue at the next start."""
        for record in self.sweep_state.running():
            self._fates.pop(record.name, None)
            self._put(replace(record, state="interrupted", checkpoint=self._folders.newest(record.name)))

    def _put(self, record: TrialRecord) -> None:
        self.sweep_state.put(record)
        self._journal.write(record)
        self._watch(record)

    def _tell(self, record: TrialRecord) -> None:
        if record.stage == "search" and record.state in ENDED:
            self._searches[record.study.name].tell(record)

    def _started(self, due: NextTrial) -> TrialRecord:
        if due.interrupted is not None:
            self._folders.keep_only(due.name, due.interrupted.checkpoint)
            again = due.interrupted.state == "interrupted"  # one that waited continues without having been disturbed
            return replace(due.interrupted, state="running", attempts=due.interrupted.attempts + again)
        now, study = time.time(), due.study
        record = TrialRecord(
            study=study.key, stage=due.stage, number=due.number, values={}, config=study.base, started=now
        )
        if due.members:
            first = due.members[0]
            names = tuple(member.name for member in due.members)
            kind = {AVERAGED: True} if study.averages_weights else {}
            record = replace(record, values=first.values, schedule=first.schedule, config=first.config)
            return replace(record, members=names, notes=kind)
        if due.repeats is not None:
            values, schedule = due.repeats.recipe
            record = replace(record, values=values, schedule=schedule)
            if due.stage == "review":
                config = study.review_config(values, due.seed).to_dict()
                return replace(record, config=config, notes={CHECKPOINT_BY: list(study.objectives)})
            return replace(record, config=study.final_config(due.repeats, due.seed).to_dict())
        values = self._searches[study.key.name].ask(due.name, due.number)
        spec = study.warm_start
        notes: dict[str, Any] = {FIRST_VALUES: spec.sweep} if spec is not None else {}
        chosen_by = self._checkpoint_criteria(study)
        if chosen_by != study.objectives:
            notes[CHECKPOINT_BY] = list(chosen_by)
        if spec is not None and spec.from_other_targets:
            notes[WARM_STARTED] = spec.sweep
        until = population.next_stop(study, 0) or promotion.first_stop(study, due.number)
        record = replace(record, values=values, until=until, notes=notes)
        try:
            return replace(record, config=study.train_config(values, due.seed).to_dict())
        except UserError as error:  # values that are valid each, but not together
            return replace(record, state="failed", reason=str(error), ended=now)

    def _checkpoint_criteria(self, study: "StudyPlan") -> tuple[str, ...]:
        """What chooses a new search trial's checkpoint: the same as of the study's earlier ones, its rivals."""
        earlier = self.sweep_state.search_records(study)
        if earlier:
            return tuple(earlier[0].notes.get(CHECKPOINT_BY, study.objectives))
        return checkpoint_criteria(study.objectives)

    def _outcome(self, record: TrialRecord, error: str | None, log: str) -> "Fate":
        fate = self._fates.pop(record.name, None)
        if error is not None and (fate is None or fate.state != "failed"):
            return Fate("failed", error, log)
        if fate is not None:
            return fate
        if not _has_all_steps(record):
            return Fate("failed", "the training ended before its last step", log)
        if best_checkpoint(record) is None:
            return Fate("failed", "no evaluation has a validation accuracy", log)
        return Fate("finished", None, log)

    def _recovered(self, record: TrialRecord) -> TrialRecord:
        """A record as it is to be taken at a start: what was running when the sweep was killed was interrupted."""
        record = self._located(record)
        if record.state in ENDED or (record.state == "waiting" and self._is_there(record)):
            self._folders.keep_only(record.name, record.checkpoint)
            return record
        newest = None if record.state == "waiting" else self._folders.newest(record.name)
        if record.checkpoint is not None and newest is None:
            self.started_anew.append(record.name)
        recovered = replace(record, state="interrupted", checkpoint=newest)
        if _has_all_steps(record) and recovered.checkpoint is not None:
            recovered = replace(recovered, state="finished", ended=record.ended or time.time())
        elif record.until is not None and record.step >= record.until and recovered.checkpoint is not None:
            recovered = replace(recovered, state="waiting")
        self._journal.write(recovered)
        if recovered.state != "interrupted":  # or else a process that outlived its driver may yet write one
            self._folders.keep_only(recovered.name, recovered.checkpoint)
        return recovered

    def _located(self, record: TrialRecord) -> TrialRecord:
        """The record with its checkpoint where that lies now: the sweep may have been moved since it was written."""
        if record.checkpoint is None or record.checkpoint == self._folders.address(record.checkpoint):
            return record
        located = replace(record, checkpoint=self._folders.address(record.checkpoint))
        self._journal.write(located)
        return located

    def _is_there(self, record: TrialRecord) -> bool:
        return record.checkpoint is not None and self._folders.is_whole(record.checkpoint)

    def __reduce__(self) -> tuple[Any, ...]:
        """Ray Tune pickles what it is given, for a restore that is never used; nothing of a sweep goes there."""
        return str, ("controller",)


def _segments(study: "StudyPlan", record: TrialRecord) -> list[dict[str, Any]]:
    """The configs that a trial trains by one after the other, each with the step from which on it holds.

    A member of a population trains by its values of now, or, without a checkpoint, by all that it has had.
    """
    own = ("seed", "select_by", "num_steps", "evaluate_target")
    kept = {key: record.config[key] for key in own if key in record.config}  # early versions lack the last
    first, changes = record.config, () if record.stage == "search" else record.schedule
    if record.stage == "search" and record.schedule and record.checkpoint is None:
        values, changes = record.recipe
        first = study.train_config(values).to_dict() | kept
    return [
        {"from_step": 0, "train": first},
        *(
            {"from_step": change["step"], "train": study.train_config(change["values"]).to_dict() | kept}
            for change in changes
            if change["step"] < kept["num_steps"]
        ),
    ]


def _member(record: TrialRecord) -> dict[str, Any]:
    """What an ensemble needs to know of a final run."""
    return {"name": record.name, "train": record.config, "checkpoint": record.checkpoint}


def _has_all_steps(record: TrialRecord) -> bool:
    return record.step >= int(record.config["num_steps"])
