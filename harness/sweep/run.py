"""A whole sweep: a Ray Tune run over all its studies, started or resumed by the same call.

Where final runs occupy something else than search trials, there are two, one after the other.
"""

import os
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import dropwhile
from typing import Any, Protocol

from harness.cluster.joined_ray import joined_ray, require_answer
from harness.cluster.local_ray import cluster_address, local_ray, stop_signals
from harness.cluster.ray_internals import keep_credentials_out_of_logs, take_prestarted_workers
from harness.config import Demand
from harness.config.demand import num_at_once
from harness.plan import Plan
from harness.plan.own_modules import own_modules
from harness.plan.studies import as_begun
from harness.records import ENDED, Journal, TrialRecord, select
from harness.state import StudySummary
from harness.state.study_summary import OPEN, summary_of
from harness.state.time_left import seconds_left
from harness.storage import CheckpointFolders, Storage, locked, writable
from harness.storage.checkpoints import CHECKPOINT_GONE
from harness.storage.folder import OPTUNA_FILE, storage_problem, sweep_id
from harness.storage.lease import leased
from harness.sweep.controller import SweepController
from harness.sweep.prepare import prepare
from harness.tracking.items import SweepSummary
from harness.tracking.sync import push_all, push_study
from harness.tracking.tracker import Tracker
from ndcl.errors import UserError
from ndcl.files import set_aside_damaged
from ndcl.filesystems import shown

LOG_FILE = "ray.log"
FAULT_LOG_FILE = "faults.log"
TRACKING_TIMEOUT_SECONDS = 120
MAX_FAULTS = 2
"""A trial whose process dies is started again, from its newest checkpoint, at most so many times."""
MAX_NODE_LOSSES = 10
"""The same on a cluster, where nodes come and go, and a trial may be on several that go."""
MAX_RAY_FAULTS = 3
"""Ray Tune itself is started again at most so many times in a row without a trial having ended in between."""


class Interrupted(KeyboardInterrupt):
    """The sweep was asked to stop (Ctrl-C or SIGTERM) and has; it can continue."""


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """The result of a sweep."""

    records: list[TrialRecord]
    studies: list[StudySummary]
    tracking_problem: str | None
    """What MLflow lacks, and why, in one line, or None."""
    tracking_refusal: str | None
    """What MLflow won't ever take, and why, in one line, or None."""

    @property
    def problems(self) -> list[str]:
        """Why it is not what was asked for, a line each."""
        stopped = [f"study {study.key.name} was stopped: {study.reason}" for study in self.studies if study.reason]
        stuck = [study.key.name for study in self.studies if study.stage in OPEN]
        gone = [r.name for r in self.records if r.state == "failed" and CHECKPOINT_GONE in (r.reason or "")]
        return [
            *stopped,
            *(f"study {name} has not ended, though nothing of it is left to run" for name in stuck),
            *([f"{len(gone)} trials failed for lack of their checkpoints: {', '.join(gone)}"] if gone else []),
        ]


class View(Protocol):
    """Who watches a sweep."""

    def say(self, text: str) -> None:
        """A remark of one line."""

    def ended(self, record: TrialRecord, states: Sequence[StudySummary], seconds_left: float | None = None) -> None:
        """A trial has ended."""

    def is_due(self) -> bool:
        """Whether `show` should be called, since it is some time ago."""

    def show(self, states: Sequence[StudySummary], seconds_left: float | None = None) -> None:
        """How the studies stand now."""


def run_sweep(
    plan: Plan,
    progress: View,
    *,
    fresh: bool = False,
    address: str | None = None,
    storage: Storage | None = None,
    take_over: bool = False,
) -> SweepResult:
    """Run all that the plan's journal does not hold yet; `fresh` deletes what an earlier sweep of this name left.

    With an `address` the trials run on the cluster there, else on this machine. With a `storage` the journal and the
    checkpoints lie there, too, and a start on a machine without them resumes from there. `take_over` stops whoever runs
    the sweep with this storage elsewhere.

    Raises UserError (another run of this sweep is under way; the sweep has changed; the folder can't be written;
    the resources don't suffice) and Interrupted, after which the same call continues.
    """
    if address is not None:
        require_answer(address)
    with writable(plan.folder), locked(plan.folder), leased(storage, plan.folder, progress.say, take_over=take_over):
        for remark in prepare(plan, fresh, storage):
            progress.say(remark)
        plan = replace(plan, studies=as_begun(plan.studies, Journal(plan.folder).read()))
        set_aside_damaged(plan.folder / OPTUNA_FILE, progress.say, "it is made anew from the journal")
        identity = sweep_id(plan.folder, storage)
        studies = [study.key for study in plan.studies]
        tracker = Tracker(plan.results, plan.name, identity, studies=studies, uri=plan.tracking_uri, warn=progress.say)
        tracker.start()  # opens the store while Ray starts
        try:
            sweep = _Sweep(plan, tracker, progress, address, storage)
            sweep.run()
        finally:
            tracker.close(TRACKING_TIMEOUT_SECONDS)
    return SweepResult(
        records=sweep.records(),
        studies=sweep.states(),
        tracking_problem=tracker.problem,
        tracking_refusal=tracker.refusal,
    )


def _ray_faults() -> tuple[type[Exception], ...]:
    """What Ray raises when it fails itself; a trial's failure raises nothing here."""
    from ray.exceptions import RayError
    from ray.tune import TuneError

    return RuntimeError, RayError, TuneError


def _require_usable_gpus(say: Callable[[str], None]) -> None:
    """Raises UnusableGpuError for a node that is there and whose GPUs torch can't use."""
    from harness.trials.gpu_canary import require_usable_gpus

    require_usable_gpus(say)


def _reason(error: Exception) -> str:
    """The telling line of an error: the first, or the last if the text is a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1 if lines[0].startswith("Traceback") else 0][:300]


class _Sweep:
    """A sweep while it runs: who is notified of what."""

    def __init__(
        self, plan: Plan, tracker: Tracker, progress: View, address: str | None, storage: Storage | None
    ) -> None:
        self.plan = plan
        self.tracker = tracker
        self.progress = progress
        self.address = address
        self.storage = storage
        self.folders = storage.checkpoints() if storage else CheckpointFolders(plan.folder / "ray")
        self._announced = {record.name for record in Journal(plan.folder).read() if record.state in ENDED}
        self.controller = SweepController(plan, self.folders, select, self._on_change, storage)
        self._stop = threading.Event()

    def records(self) -> list[TrialRecord]:
        """All records, by name."""
        return sorted(self.controller.sweep_state.records.values(), key=lambda record: record.name)

    def states(self) -> list[StudySummary]:
        """All studies, in the plan's order."""
        return [summary_of(self.controller.sweep_state, study) for study in self.plan.studies]

    def run(self) -> None:
        """Run what is due. Raises Interrupted."""
        self.folders.remove_empty_runs()
        if self.controller.started_anew:
            self.progress.say(
                f"{len(self.controller.started_anew)} trials start anew, since their checkpoints are gone from "
                f"{shown(self.folders.place)}: {', '.join(self.controller.started_anew)}"
            )
        self._track_all(is_running=True)
        try:
            self.controller.catch_up()
            for record in self.records():  # which a kill has kept from being told
                if record.state in ENDED and record.name not in self._announced:
                    self._on_change(record)
            faults = 0
            while not self.controller.sweep_state.is_done:
                num_ended = self._num_ended()
                try:
                    self._fit()
                except _ray_faults() as error:
                    faults = faults + 1 if self._num_ended() == num_ended else 1
                    self._go_on_after(error, faults)
        finally:
            self.controller.interrupt()
            self._track_all(is_running=False)

    def _num_ended(self) -> int:
        return sum(record.state in ENDED for record in self.controller.sweep_state.records.values())

    def _go_on_after(self, error: Exception, faults: int) -> None:
        """Let the trials that a fault of Ray's cut off resume from their checkpoints. Raises UserError after too many.

        Tune ends a whole run, with an exception, when Ray's memory monitor kills a process that is between trials.
        """
        if self.controller.fault is not None:
            raise self.controller.fault from error
        if storage_problem(error):
            raise error
        log = self.plan.folder / FAULT_LOG_FILE
        with log.open("a") as file:
            file.write("".join(traceback.format_exception(error)))
        reason = _reason(error)
        if faults > MAX_RAY_FAULTS:
            raise UserError(
                f"Ray failed {faults} times in a row ({reason}); see {log}; the same command resumes"
            ) from error
        self.controller.interrupt()
        self.progress.say(f"Ray failed and is started again; nothing is lost ({reason})")

    def _fit(self) -> None:
        """Run the trials of the first phase that has any left; what comes after it must fit, too."""
        left = list(dropwhile(lambda stages: self.controller.sweep_state.next(stages) is None, self.plan.phases))
        with self._ray() as nodes, stop_signals(self._stop):
            self.controller.environment["cluster"] = cluster_address() if self.address else "local"
            self.controller.stages = left[0]
            self.controller.max_concurrent, *_ = (num_at_once(self.plan.occupied[stages[0]], nodes) for stages in left)
            os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(self.controller.max_concurrent)
            keep_credentials_out_of_logs()
            if self.address is None:
                take_prestarted_workers()
            elif self.plan.takes_gpus:
                _require_usable_gpus(self.progress.say)
            self._tuner(self.plan.occupied[left[0][0]]).fit()

    def _ray(self) -> AbstractContextManager[list[Mapping[str, float]]]:
        log = self.plan.folder / LOG_FILE
        if self.address is None:
            return local_ray(log, with_dashboard=any(each.workers for each in self.plan.occupied.values()))
        names = {str(study.base["algorithm"]["name"]) for study in self.plan.studies}
        return joined_ray(log, self.address, self.progress.say, own_modules(names))

    def _trainable(self, run: str, occupied: Demand) -> Any:
        """What Ray Tune runs as a trial."""
        from ray import tune

        from harness.trials.entry import run_trial

        if occupied.workers is None:
            return tune.with_resources(run_trial, occupied.needed)
        from harness.trials.distributed_trial import DRIVER, distributed_trial

        return tune.with_resources(distributed_trial(occupied.workers, self.folders.run_place(run)), DRIVER)

    def _tuner(self, occupied: Demand) -> Any:
        from ray import tune

        from harness.sweep.tune import SweepCallback, SweepScheduler, SweepSearcher

        run = self.folders.new_run()
        return tune.Tuner(
            self._trainable(run, occupied),
            tune_config=tune.TuneConfig(
                search_alg=SweepSearcher(self.controller),
                scheduler=SweepScheduler(self.controller),
                num_samples=-1,
                reuse_actors=occupied.workers is None,
                trial_name_creator=lambda trial: trial.config["name"],
                trial_dirname_creator=lambda trial: trial.config["folder"],
            ),
            run_config=tune.RunConfig(
                name=run,
                storage_path=self.folders.place,
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # trials say when
                failure_config=tune.FailureConfig(max_failures=MAX_FAULTS if self.address is None else MAX_NODE_LOSSES),
                callbacks=[SweepCallback(self.controller, self._on_step)],
            ),
        )

    def _on_step(self) -> None:
        is_taken_over = self.storage is not None and self.storage.refusal() is not None
        if self._stop.is_set() or is_taken_over:
            raise Interrupted  # no Exception, or Tune would first wait for the trials' next evaluations
        if self.controller.is_given_back:
            self.progress.say("this machine is to be taken away; the trials have written their checkpoints")
            raise Interrupted
        if self.progress.is_due():
            self.progress.show(self.states(), self._seconds_left())

    def _seconds_left(self) -> float | None:
        """Of what is not over, with as many trials at once as fit."""
        sweep_state = self.controller.sweep_state
        studies = [study for study in self.plan.studies if sweep_state.stage_of(study) in OPEN]
        return seconds_left(studies, sweep_state.records.values(), self.controller.max_concurrent)

    def _on_change(self, record: TrialRecord) -> None:
        self.tracker.push(record)
        if record.state in ENDED:
            states = self.states()
            if record.name not in self._announced:  # else its checkpoint alone has gone
                self._announced.add(record.name)
                self.progress.ended(record, states, self._seconds_left())
            state = next((state for state in states if state.key == record.study), None)
            if state is not None:
                push_study(self.tracker, self.plan, self.controller.sweep_state, state)
                if state.stage in ("done", "stopped"):
                    self.tracker.push(SweepSummary(folder=self.plan.folder, studies=tuple(states)))

    def _track_all(self, is_running: bool) -> None:
        self.tracker.is_running = is_running
        push_all(self.tracker, self.plan, self.controller.sweep_state)
