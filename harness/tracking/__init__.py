"""MLflow: a study is a parent run, a trial a child run. Only this package knows MLflow.

Runs are brought to what the records say, whatever has been logged before: `sync` may be called at any time, any
number of times, also by another process after a kill. A background thread does it, so that no training waits for the
store and no failure of the store reaches the sweep.
"""

import contextlib
import fcntl
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.database_files import make_whole
from harness.dotted import flat
from harness.records import ENDED, StudyKey, TrialRecord
from harness.study_state import StudyState

if TYPE_CHECKING:
    from mlflow import MlflowClient

Point = tuple[str, float, int, int]
"""A metric's name, its value, when in milliseconds since the epoch, and the step."""
MARKER = "validation_accuracy"
"""Logged last: a step that has it has all its metrics."""
ACCURACIES = ("overall", "balanced", "worst_class", "many", "median", "few", "zero")
OBJECTIVES = (
    "worst_domain_accuracy",
    "few_shot_accuracy",
    "leave_one_domain_out_accuracy",
    "oracle_accuracy",
)
"""What can be maximised, beside MARKER."""
STORE_FILE, CONFIG = "mlflow.db", "config.yaml"
MAX_PARAMS, MAX_METRICS, MAX_PARAM_LENGTH = 100, 1000, 6000
"""Limits of one `log_batch`, set by MLflow."""
SECONDS_BETWEEN_WRITES = 2
"""What is pushed meanwhile is written in one go, which costs the trainings less."""
STATUS = {
    "running": "RUNNING",
    "waiting": "SCHEDULED",
    "interrupted": "SCHEDULED",
    "finished": "FINISHED",
    "pruned": "KILLED",
    "failed": "FAILED",
}
"""The status of a run by the state of its record."""
STUDY_STATUS = {"done": "FINISHED", "stopped": "FAILED"}
"""The status of a study's run by its stage; while it goes on it depends on whether the sweep runs."""
NAME, SWEEP_ID = "ndcl.name", "ndcl.sweep_id"
"""Tags that tell which record and which sweep a run stands for."""


def store_uri(results: Path) -> str:
    """The store that all sweeps of a results folder share."""
    return _uri(results / STORE_FILE)


def artifact_folder(results: Path) -> Path:
    """Where runs' artifacts lie."""
    return results.resolve() / "mlartifacts"


class Tracker:
    """Keeps the MLflow runs of one sweep in step with its records."""

    def __init__(self, results: Path, sweep: str, sweep_id: str) -> None:
        """`sweep_id` tells this sweep from earlier ones of the same name. Nothing is opened before `start`."""
        self.problem: str | None = None
        """Why the newest attempt to write failed, in one line."""
        self._where = (results, sweep, sweep_id)
        self.is_running = True
        """Whether studies that are not done are going on now."""
        self._pending: dict[str, TrialRecord | StudyState] = {}
        self._lock = threading.Lock()
        self._pushed, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._store: _Store | None = None

    def start(self) -> None:
        """Begin to write what is pushed."""
        self._thread.start()

    def push(self, item: TrialRecord | StudyState) -> None:
        """Have a run brought up to date soon. Returns at once; of several pushes the last counts."""
        with self._lock:
            self._pending[_name(item)] = item
        self._pushed.set()

    def close(self, timeout_seconds: float) -> None:
        """Write what has been pushed, as far as the time allows, and stop. `problem` tells if something is missing."""
        self._closing.set()
        self._pushed.set()
        self._thread.join(timeout_seconds)
        if self._thread.is_alive():
            self.problem = self.problem or f"not all runs could be written within {timeout_seconds:g} s"

    def _work(self) -> None:
        while True:
            self._pushed.wait()
            is_last = self._closing.wait(SECONDS_BETWEEN_WRITES)
            self._pushed.clear()
            while item := self._take():
                self._write(item)
            if is_last:
                return

    def _take(self) -> TrialRecord | StudyState | None:
        with self._lock:
            return self._pending.pop(next(iter(self._pending))) if self._pending else None

    def _write(self, item: TrialRecord | StudyState) -> None:
        try:
            if self._store is None:
                self._store = _Store(*self._where)
            if isinstance(item, TrialRecord):
                self._store.sync_trial(item)
            else:
                self._store.sync_study(item, self.is_running)
        except Exception as error:  # a sweep must not end because its log can't be written
            self.problem = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            logging.getLogger(__name__).debug("tracking of %s failed", _name(item), exc_info=True)


class _Store:
    """The MLflow side: run ids by name, and what is known to be logged."""

    def __init__(self, results: Path, sweep: str, sweep_id: str) -> None:
        self.sweep_id = sweep_id
        self.client = open_client(results)
        self.experiment_id = self._experiment(sweep, artifact_folder(results))
        self._runs: dict[str, str] = {}
        self._steps: dict[str, set[int]] = {}
        self._complete: dict[str, str] = {}
        self._unsure: set[str] = set()
        self._selected: dict[str, str] = {}
        for run in _all_runs(self.client, self.experiment_id):
            self._remember(run)

    def sync_trial(self, record: TrialRecord) -> None:
        """Bring a trial's run to what the record says. A run that says so already is left alone."""
        if record.state in ENDED and self._complete.get(record.name) == record.state:
            return
        run_id = self._runs.get(record.name) or self._create_trial(record)
        params = {}
        if record.name in self._unsure:
            # New, or found half-written. Logging the same parameters again changes nothing.
            params = flat(record.config)
            self.client.log_dict(run_id, record.config, CONFIG)
        steps = self._logged_steps(record.name, run_id)
        new = [evaluation for evaluation in record.evaluations if evaluation["step"] not in steps]
        points = [point for evaluation in new for point in _points(record, evaluation)]
        self._log(run_id, points, trial_tags(record), params)
        steps.update(evaluation["step"] for evaluation in new)
        self._unsure.discard(record.name)
        self._set_status(run_id, STATUS[record.state], record.ended)
        if record.state in ENDED:
            self._complete[record.name] = record.state

    def sync_study(self, state: StudyState, is_running: bool) -> None:
        """Bring a study's run to what is known of the study."""
        run_id = self._parent(state.key)
        points = [(key, value, int(state.updated * 1000), state.num_ended) for key, value in state.metrics.items()]
        self._log(run_id, points, study_tags(state), {})
        self._mark_selected(state)
        going_on = "RUNNING" if is_running else "SCHEDULED"
        self._set_status(run_id, STUDY_STATUS.get(state.stage, going_on), state.updated)

    def _remember(self, run: Any) -> None:
        """Take note of a run in the store; one of an earlier sweep of this name can't go on any more."""
        tags = run.data.tags
        if tags.get(SWEEP_ID) == self.sweep_id:
            name = tags[NAME]
            self._runs[name] = run.info.run_id
            if run.info.status == STATUS.get(tags.get("state", "")):
                self._complete[name] = tags["state"]
            else:
                self._unsure.add(name)
        elif run.info.status in ("RUNNING", "SCHEDULED"):
            self.client.set_terminated(run.info.run_id, "KILLED")

    def _mark_selected(self, state: StudyState) -> None:
        """Tag the selected trial, and no other of the study."""
        if state.best is None or not state.is_selected or self._selected.get(state.key.name) == state.best.name:
            return
        for name, run_id in self._runs.items():
            if name.startswith(f"{state.key.name}.search-"):
                self.client.set_tag(run_id, "selected", str(name == state.best.name).lower())
        self._selected[state.key.name] = state.best.name

    def _experiment(self, sweep: str, artifacts: Path) -> str:
        found = self.client.get_experiment_by_name(sweep)
        if found is not None and found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        location = (artifacts / sweep).as_uri()
        return str(found.experiment_id if found else self.client.create_experiment(sweep, location))

    def _parent(self, key: StudyKey) -> str:
        if key.name not in self._runs:
            tags = {**vars(key), NAME: key.name, SWEEP_ID: self.sweep_id, "role": "study"}
            run = self.client.create_run(self.experiment_id, tags=tags, run_name=key.name)
            self._runs[key.name] = run.info.run_id
        return self._runs[key.name]

    def _create_trial(self, record: TrialRecord) -> str:
        tags = {
            **vars(record.study),
            NAME: record.name,
            SWEEP_ID: self.sweep_id,
            "role": "trial",
            "stage": record.stage,
            "mlflow.parentRunId": self._parent(record.study),
        }
        name = f"{record.stage}-{record.number:03d}"
        run = self.client.create_run(self.experiment_id, int(record.started * 1000), tags, name)
        self._runs[record.name], self._steps[record.name] = str(run.info.run_id), set()
        self._unsure.add(record.name)
        return self._runs[record.name]

    def _logged_steps(self, name: str, run_id: str) -> set[int]:
        """Steps that are in the store; asked once per run, then remembered."""
        if name not in self._steps:
            self._steps[name] = {point.step for point in self.client.get_metric_history(run_id, MARKER)}
        return self._steps[name]

    def _log(self, run_id: str, points: list[Point], tags: dict[str, str], params: dict[str, Any]) -> None:
        """All in one call, or in as few as MLflow's limits allow; the metrics of a call are one transaction."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(*point) for point in points]
        logged = [Param(key, str(value)[:MAX_PARAM_LENGTH]) for key, value in params.items()]
        self.client.log_batch(
            run_id, metrics[:MAX_METRICS], logged[:MAX_PARAMS], [RunTag(key, value) for key, value in tags.items()]
        )
        for start in range(MAX_METRICS, len(metrics), MAX_METRICS):
            self.client.log_batch(run_id, metrics[start : start + MAX_METRICS])
        for start in range(MAX_PARAMS, len(logged), MAX_PARAMS):
            self.client.log_batch(run_id, params=logged[start : start + MAX_PARAMS])

    def _set_status(self, run_id: str, status: str, ended: float | None) -> None:
        if status in ("RUNNING", "SCHEDULED"):
            self.client.update_run(run_id, status)
        else:
            self.client.set_terminated(run_id, status, int(ended * 1000) if ended else None)


def evaluation_metrics(evaluation: dict[str, Any]) -> dict[str, float]:
    """An evaluation's numbers by metric name: `validation/<domain>/few`, `target/overall`, `losses/total`."""
    metrics = {name: evaluation[name] for name in (MARKER, *OBJECTIVES, "seconds")}
    metrics.update({f"losses/{name}": value for name, value in evaluation["losses"].items()})
    parts = {f"validation/{domain}": part for domain, part in evaluation["validation"].items()}
    parts |= {f"held_out/{domain}": part for domain, part in (evaluation["held_out"] or {}).items()}
    for where, part in {**parts, "target": evaluation["target"], "oracle": evaluation["oracle"]}.items():
        metrics.update({f"{where}/{name}": part[name] for name in ACCURACIES} if part else {})
    return {_valid_name(name): float(value) for name, value in metrics.items() if value is not None}


def _points(record: TrialRecord, evaluation: dict[str, Any]) -> list[Point]:
    """An evaluation's metrics, the marker last, at a time that every attempt to log them agrees on."""
    time_ms = int((record.started + evaluation["seconds"]) * 1000)
    points = [(key, value, time_ms, evaluation["step"]) for key, value in evaluation_metrics(evaluation).items()]
    return sorted(points, key=lambda point: point[0] == MARKER)


def trial_tags(record: TrialRecord) -> dict[str, str]:
    """What the record says beyond numbers, as tags."""
    tags = {"state": record.state, "seed": str(record.config["seed"]), "attempts": str(record.attempts)}
    if record.checkpoint:
        tags["checkpoint"] = record.checkpoint
    if record.reason:
        key = "failure_reason" if record.state == "failed" else "reason"
        tags |= {key: record.reason, "mlflow.note.content": record.reason}
    return tags


def study_tags(state: StudyState) -> dict[str, str]:
    """What is known of the study, as tags: the best trial and its values."""
    tags = {"stage": state.stage}
    if state.reason:
        tags |= {"failure_reason": state.reason, "mlflow.note.content": state.reason}
    if state.best:
        tags["selected_trial" if state.is_selected else "best_trial"] = state.best.name
        tags |= {f"best.{key}": str(value) for key, value in state.best.values.items()}
    return tags


def open_client(results: Path) -> "MlflowClient":
    """A client of the store of `results`, which is made or migrated first by one process at a time."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow import MlflowClient

    warnings.filterwarnings("ignore", module="mlflow")  # of its own database code
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with _locked(results / ".mlflow.lock"):
        make_whole(results / STORE_FILE, lambda path: _set_up(MlflowClient(_uri(path))))
        client = MlflowClient(store_uri(results))
        _set_up(client)
    return client


def _set_up(client: "MlflowClient") -> None:
    """Have MLflow make its tables, or migrate them, which it does at the first call."""
    client.search_experiments(max_results=1)


def _uri(path: Path) -> str:
    return f"sqlite:///{path.resolve()}"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _all_runs(client: "MlflowClient", experiment_id: str) -> Iterator[Any]:
    token = None
    while True:
        page = client.search_runs([experiment_id], max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _name(item: TrialRecord | StudyState) -> str:
    return item.name if isinstance(item, TrialRecord) else item.key.name


def _valid_name(name: str) -> str:
    """MLflow allows letters, digits and `_-./: ` in the names of metrics."""
    return "".join(c if c.isalnum() or c in "_-./: " else "_" for c in name)
