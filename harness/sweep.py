"""A whole sweep: a Ray Tune run over all its studies, started or gone on with by the same call.

Where final runs occupy something else than search trials, there are two, one after the other.
"""

import os
import threading
import traceback
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import dropwhile
from typing import Any

from harness.checkpoints import CheckpointFolders
from harness.cluster.joining import joined_ray
from harness.conductor import Conductor
from harness.lease import leased
from harness.local_ray import cluster_address, keep_credentials_out_of_logs, local_ray, stop_signals
from harness.plan import Plan
from harness.progress import Progress
from harness.records import ENDED, TrialRecord
from harness.selection import select
from harness.storage import Storage
from harness.study_state import StudyState, study_state
from harness.sweep_folder import locked, prepare, storage_problem, sweep_id, writable
from harness.sweep_state import SweepState
from harness.sync import push_all, push_study
from harness.tracking import Tracker
from harness.workers import Occupied, at_once
from ndcl.errors import UserError

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
    """The sweep was asked to stop (Ctrl-C or SIGTERM) and has; it can go on."""


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """What a sweep came to."""

    records: list[TrialRecord]
    studies: list[StudyState]
    tracking_problem: str | None
    """What MLflow lacks, and why, in one line, or None."""


def run_sweep(
    plan: Plan,
    progress: Progress,
    *,
    fresh: bool = False,
    address: str | None = None,
    storage: Storage | None = None,
    take_over: bool = False,
) -> SweepResult:
    """Run all that the plan's journal does not hold yet; `fresh` deletes what an earlier sweep of this name left.

    With an `address` the trials run on the cluster there, else on this machine. With a `storage` the journal and the
    checkpoints lie there, too, and a start on a machine without them goes on from there. `take_over` stops whoever runs
    the sweep with this storage elsewhere.

    Raises UserError (another run of this sweep is going on; the sweep has changed; the folder can't be written;
    the resources don't suffice) and Interrupted, after which the same call goes on.
    """
    with writable(plan.folder), locked(plan), leased(storage, plan.folder, progress.say, take_over=take_over):
        prepare(plan, fresh, storage)
        identity = sweep_id(plan.folder, storage)
        tracker = Tracker(plan.results, plan.name, identity, uri=plan.tracking_uri, warn=progress.say)
        tracker.start()  # opens the store while Ray starts
        try:
            sweep = _Sweep(plan, tracker, progress, address, storage)
            sweep.run()
        finally:
            tracker.close(TRACKING_TIMEOUT_SECONDS)
    return SweepResult(records=sweep.records(), studies=sweep.states(), tracking_problem=tracker.problem)


def _ray_faults() -> tuple[type[Exception], ...]:
    """What Ray raises when it fails itself; a trial's failure raises nothing here."""
    from ray.exceptions import RayError
    from ray.tune import TuneError

    return RuntimeError, RayError, TuneError


def _reason(error: Exception) -> str:
    """The telling line of an error: the first, or the last if the text is a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1 if lines[0].startswith("Traceback") else 0][:300]


class _Sweep:
    """A sweep while it runs: who is told of what."""

    def __init__(
        self, plan: Plan, tracker: Tracker, progress: Progress, address: str | None, storage: Storage | None
    ) -> None:
        self.plan = plan
        self.tracker = tracker
        self.progress = progress
        self.address = address
        self.storage = storage
        self.folders = storage.checkpoints() if storage else CheckpointFolders(plan.folder / "ray")
        self.conductor = Conductor(plan, self.folders, select, self._on_change, storage)
        self._stop = threading.Event()

    def records(self) -> list[TrialRecord]:
        """All records, by name."""
        return sorted(self.conductor.agenda.records.values(), key=lambda record: record.name)

    def states(self) -> list[StudyState]:
        """All studies, in the plan's order."""
        return [study_state(self.conductor.agenda, study) for study in self.plan.studies]

    def run(self) -> None:
        """Run what is due. Raises Interrupted."""
        self.folders.remove_empty_runs()
        self._track_all(is_running=True)
        try:
            faults = 0
            while not self.conductor.agenda.is_done:
                num_ended = self._num_ended()
                try:
                    self._fit()
                except _ray_faults() as error:
                    faults = faults + 1 if self._num_ended() == num_ended else 1
                    self._go_on_after(error, faults)
        finally:
            self.conductor.interrupt()
            self._track_all(is_running=False)

    def _num_ended(self) -> int:
        return sum(record.state in ENDED for record in self.conductor.agenda.records.values())

    def _go_on_after(self, error: Exception, faults: int) -> None:
        """Let the trials that a fault of Ray's cut off go on from their checkpoints. Raises UserError after too many.

        Tune ends a whole run, with an exception, when Ray's memory monitor kills a process that is between trials.
        """
        if storage_problem(error):
            raise error
        log = self.plan.folder / FAULT_LOG_FILE
        with log.open("a") as file:
            file.write("".join(traceback.format_exception(error)))
        reason = _reason(error)
        if faults > MAX_RAY_FAULTS:
            raise UserError(
                f"Ray failed {faults} times in a row ({reason}); see {log}; the same command goes on"
            ) from error
        self.conductor.interrupt()
        self.progress.say(f"Ray failed and is started again; nothing is lost ({reason})")

    def _fit(self) -> None:
        """Run the trials of the first phase that has any left; what comes after it must fit, too."""
        left = list(dropwhile(lambda stages: self.conductor.agenda.next(stages) is None, self.plan.phases))
        with self._ray() as nodes, stop_signals(self._stop):
            self.conductor.environment["cluster"] = cluster_address() if self.address else "local"
            self.conductor.stages = left[0]
            self.conductor.max_concurrent, *_ = (at_once(self.plan.occupied[stages[0]], nodes) for stages in left)
            os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(self.conductor.max_concurrent)
            keep_credentials_out_of_logs()
            self._tuner(self.plan.occupied[left[0][0]]).fit()

    def _ray(self) -> AbstractContextManager[list[Mapping[str, float]]]:
        log = self.plan.folder / LOG_FILE
        if self.address is None:
            return local_ray(log, with_dashboard=any(each.workers for each in self.plan.occupied.values()))
        return joined_ray(log, self.address, self.progress.say)

    def _trainable(self, run: str, occupied: Occupied) -> Any:
        """What Ray Tune runs as a trial."""
        from ray import tune

        from harness.trial import run_trial

        if occupied.workers is None:
            return tune.with_resources(run_trial, occupied.needed)
        from harness.distributed_trial import DRIVER, distributed_trial

        return tune.with_resources(distributed_trial(occupied.workers, self.folders.run_place(run)), DRIVER)

    def _tuner(self, occupied: Occupied) -> Any:
        from ray import tune

        from harness.scheduler import SweepCallback, SweepScheduler, SweepSearcher

        run = self.folders.new_run()
        return tune.Tuner(
            self._trainable(run, occupied),
            tune_config=tune.TuneConfig(
                search_alg=SweepSearcher(self.conductor),
                scheduler=SweepScheduler(self.conductor),
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
                callbacks=[SweepCallback(self.conductor, self._on_step)],
            ),
        )

    def _on_step(self) -> None:
        is_taken_over = self.storage is not None and self.storage.refusal() is not None
        if self._stop.is_set() or is_taken_over:
            raise Interrupted  # no Exception, or Tune would first wait for the trials' next evaluations
        if self.progress.is_due():
            self.progress.show(self.states(), self.conductor.agenda.running())

    def _on_change(self, record: TrialRecord) -> None:
        self.tracker.push(record)
        if record.state in ENDED:
            states = self.states()
            self.progress.ended(record, states)
            state = next((state for state in states if state.key == record.study), None)
            if state is not None:
                push_study(self.tracker, self.plan, self.conductor.agenda, state)
                if state.stage in ("done", "stopped"):
                    self.tracker.push(SweepState(folder=self.plan.folder, studies=tuple(states)))

    def _track_all(self, is_running: bool) -> None:
        self.tracker.is_running = is_running
        push_all(self.tracker, self.plan, self.conductor.agenda)
