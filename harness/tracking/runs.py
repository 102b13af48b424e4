"""The MLflow runs of one sweep: each is brought to what is known, whatever has been logged before."""

import hashlib
import json
import platform
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.dotted import flat
from harness.records import ENDED, StudyKey, TrialRecord
from harness.study_figures import StudyFigures
from harness.study_selection import StudySelection
from harness.study_state import StudyState
from harness.sweep_state import SweepState
from harness.tracking.artifacts import write_results
from harness.tracking.client import keeps_artifacts, open_client
from harness.tracking.contents import (
    MARKER,
    NOTE,
    Point,
    environment_tags,
    points,
    study_tags,
    sweep_note,
    trial_tags,
)
from harness.tracking.data_sets import data_input
from harness.tracking_uri import artifact_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient

Item = TrialRecord | StudyState | StudySelection | StudyFigures | SweepState
"""What a run, or a part of it, is brought to."""
CONFIG, WHERE = "config.yaml", "environment.json"
FIGURES, RESULTS, SELECTION, REPORT = "optuna", "results", "selection", "report"
"""Folders among the artifacts of a run."""
MAX_PARAM_LENGTH = 6000
"""Set by MLflow."""
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
NAME, SWEEP_ID, FOLDER = "ndcl.name", "ndcl.sweep_id", "ndcl.folder"
"""Tags that tell which record and which sweep a run stands for, and where that sweep's results lie."""
LOGGED = "ndcl.logged."
"""Begin of the tags that tell which contents of an artifact folder have been logged."""
OPEN = ("RUNNING", "SCHEDULED")


class SweepRuns:
    """Run ids by name, and what is known to be logged."""

    def __init__(self, results: Path, sweep: str, sweep_id: str, configured: str | None = None) -> None:
        """Open the store that `harness.tracking_uri.tracking_uri` names, and look up what it has of the sweep."""
        self.sweep, self.sweep_id = sweep, sweep_id
        self.folder = f"{platform.node()}:{(results / sweep).resolve()}"
        self.client = open_client(results, configured)
        artifacts = None if keeps_artifacts(results, configured) else (artifact_folder(results) / sweep).as_uri()
        self.experiment_id = self._experiment(artifacts)
        self._runs: dict[str, str] = {}
        self._steps: dict[str, set[int]] = {}
        self._unsure: dict[str, set[str]] = {}
        """Runs that are new, or were found half-written, with the parameters that they have."""
        self._tags: dict[str, dict[str, str]] = {}
        """Tags of runs as far as they are known; only what changes is written."""
        self._statuses: dict[str, str] = {}
        self._environments: dict[str, dict[str, Any]] = {}
        for run in _all_runs(self.client, self.experiment_id):
            self._remember(run)

    def sync(self, item: Item, is_running: bool) -> None:
        """Bring a run to what `item` says; `is_running` tells whether studies that are not done go on now."""
        match item:
            case TrialRecord():
                self.sync_trial(item)
            case StudyState():
                self._sync_study(item, is_running)
            case StudySelection():
                self._log_selection(item)
            case StudyFigures():
                self._log_figures(item)
            case SweepState():
                self._sync_sweep(item, is_running)

    def sync_trial(self, record: TrialRecord) -> None:
        """Bring a trial's run to what the record says. A run that says so already is left alone."""
        if record.state in ENDED and self._is_complete(record.name, record.state):
            return
        run_id = self._runs.get(record.name) or self._create_trial(record)
        params = self._missing_params(record, run_id)
        steps = self._logged_steps(record.name, run_id)
        new = [evaluation for evaluation in record.evaluations if evaluation["step"] not in steps]
        self._log_environment(record.name, run_id, record.environment)
        if record.state in ENDED:
            self._log_results(record, run_id)
        metrics = [point for evaluation in new for point in points(record, evaluation)]
        self._log(record.name, metrics, trial_tags(record), params)
        steps.update(evaluation["step"] for evaluation in new)
        self._unsure.pop(record.name, None)
        self._set_status(record.name, STATUS[record.state], record.ended)  # last: it says that all is there

    def _sync_study(self, state: StudyState, is_running: bool) -> None:
        run_id = self._parent(state.key)
        time_ms = int(state.updated * 1000)
        metrics = [(key, value, time_ms, state.num_ended) for key, value in state.metrics.items()]
        self._log(state.key.name, metrics, study_tags(state))
        if state.best:
            self._log_environment(state.key.name, run_id, state.best.environment)
        if state.is_selected:
            self._mark_selected(state)
        going_on = "RUNNING" if is_running else "SCHEDULED"
        self._set_status(state.key.name, STUDY_STATUS.get(state.stage, going_on), state.updated)

    def _log_selection(self, selection: StudySelection) -> None:
        files = selection.files()
        self._parent(selection.key)
        with tempfile.TemporaryDirectory(prefix="ndcl-selection-") as folder:
            for name, text in files.items():
                (Path(folder) / name).write_text(text)
            self._log_folder(selection.key.name, Path(folder), SELECTION, _digest([*files.values()]))

    def _log_figures(self, figures: StudyFigures) -> None:
        """Put Optuna's figures among the artifacts of the study's run, unless those of as many trials are there."""
        name, num_trials = figures.plan.key.name, str(len(figures.records))
        self._parent(figures.plan.key)
        if self._is_logged(name, FIGURES, num_trials):
            return
        with tempfile.TemporaryDirectory(prefix="ndcl-figures-") as folder:
            figures.draw(Path(folder))
            self._log_folder(name, Path(folder), FIGURES, num_trials)

    def _sync_sweep(self, state: SweepState, is_running: bool) -> None:
        """The experiment's description, and the run that has the report."""
        note = sweep_note(state)
        self.client.set_experiment_tag(self.experiment_id, NOTE, note)
        run_id = self._runs.get(state.name) or self._create(state.name, {"role": "sweep"}, None, state.name)
        self._set_tags(state.name, {NOTE: note})
        files = state.files
        digest = _digest([path.read_text() for path in files])
        if files and not self._is_logged(state.name, REPORT, digest):
            for path in files:
                self.client.log_artifact(run_id, str(path), REPORT)
            self._set_logged(state.name, REPORT, digest)
        going_on = "RUNNING" if is_running else "SCHEDULED"
        self._set_status(state.name, "FINISHED" if state.is_done else going_on, state.updated)

    def _remember(self, run: Any) -> None:
        """Take note of a run in the store; an earlier sweep of this name in this folder can't go on any more."""
        tags = run.data.tags
        if tags.get(SWEEP_ID) == self.sweep_id:
            name = tags[NAME]
            self._runs[name] = run.info.run_id
            self._tags[name] = dict(tags)
            self._statuses[name] = run.info.status
            if not self._is_complete(name, tags.get("state", "")):
                self._unsure[name] = set(run.data.params)
        elif tags.get(FOLDER) == self.folder and run.info.status in OPEN:
            self.client.set_terminated(run.info.run_id, "KILLED")

    def _missing_params(self, record: TrialRecord, run_id: str) -> dict[str, Any]:
        """The parameters that a new or half-written run lacks; its config is logged, too.

        MLflow's parameters never change. Population based training changes values, which tags and the config tell.
        """
        known = self._unsure.get(record.name)
        if known is None:
            return {}
        self.client.log_dict(run_id, record.config, CONFIG)
        return {key: value for key, value in flat(record.config).items() if key not in known}

    def _log_environment(self, name: str, run_id: str, environment: dict[str, Any]) -> None:
        """Where a trial ran, and its data set as an input of the run, once both are known."""
        if "data" not in environment or self._environments.get(name) == environment:
            return
        self.client.log_dict(run_id, environment, WHERE)
        self.client.log_inputs(run_id, [data_input(environment["data"])])
        self._environments[name] = environment

    def _log_results(self, record: TrialRecord, run_id: str) -> None:
        with tempfile.TemporaryDirectory(prefix="ndcl-results-") as folder:
            if write_results(record, Path(folder)):
                self.client.log_artifacts(run_id, folder, RESULTS)

    def _mark_selected(self, state: StudyState) -> None:
        """Tag the selected trial and its final runs, and no others of the study."""
        for name in self._runs:
            if name.startswith((f"{state.key.name}.search-", f"{state.key.name}.final-")):
                self._set_tags(name, {"selected": str(name in state.selected).lower()})

    def _experiment(self, artifacts: str | None) -> str:
        found = self.client.get_experiment_by_name(self.sweep)
        if found is not None and found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id if found else self.client.create_experiment(self.sweep, artifacts))

    def _parent(self, key: StudyKey) -> str:
        return self._runs.get(key.name) or self._create(key.name, {**vars(key), "role": "study"}, None, key.name)

    def _create_trial(self, record: TrialRecord) -> str:
        tags = {
            **vars(record.study),
            **environment_tags(record.environment),
            "role": "trial",
            "stage": record.stage,
            "selected": "false",
            "mlflow.parentRunId": self._parent(record.study),
        }
        self._steps[record.name], self._unsure[record.name] = set(), set()
        return self._create(record.name, tags, int(record.started * 1000), f"{record.stage}-{record.number:03d}")

    def _create(self, name: str, tags: dict[str, str], started_ms: int | None, shown: str) -> str:
        tags = tags | {NAME: name, SWEEP_ID: self.sweep_id, FOLDER: self.folder}
        run = self.client.create_run(self.experiment_id, started_ms, tags, shown)
        self._runs[name], self._tags[name] = str(run.info.run_id), tags
        self._statuses[name] = run.info.status
        return self._runs[name]

    def _logged_steps(self, name: str, run_id: str) -> set[int]:
        """Steps that are in the store; asked once per run, then remembered."""
        if name not in self._steps:
            self._steps[name] = {point.step for point in self.client.get_metric_history(run_id, MARKER)}
        return self._steps[name]

    def _is_complete(self, name: str, state: str) -> bool:
        """Whether a trial's run has all of a record in this state: its tag tells of it, and its status agrees."""
        return self._tags.get(name, {}).get("state") == state and self._statuses[name] == STATUS.get(state)

    def _log(
        self, name: str, metrics: Sequence[Point], tags: dict[str, str], params: dict[str, Any] | None = None
    ) -> None:
        """The parameters first: a run that has its state has them all. Of the tags what has changed.

        MLflow's client knows the limits of one call.
        """
        from mlflow.entities import Metric, Param, RunTag

        run_id = self._runs[name]
        if params:
            texts = {key: str(value)[:MAX_PARAM_LENGTH] for key, value in params.items()}
            self.client.log_batch(run_id, params=[Param(key, text) for key, text in texts.items()])
        changed = {key: value for key, value in tags.items() if self._tags[name].get(key) != value}
        if metrics or changed:
            values = [Metric(*point) for point in metrics]
            self.client.log_batch(run_id, values, tags=[RunTag(key, value) for key, value in changed.items()])
            self._tags[name].update(changed)

    def _set_tags(self, name: str, tags: dict[str, str]) -> None:
        self._log(name, [], tags)

    def _log_folder(self, name: str, folder: Path, to: str, digest: str) -> None:
        """Put a folder's files among a run's artifacts, unless those of the same digest are there."""
        if self._is_logged(name, to, digest):
            return
        if any(folder.iterdir()):
            self.client.log_artifacts(self._runs[name], str(folder), to)
        self._set_logged(name, to, digest)

    def _is_logged(self, name: str, folder: str, digest: str) -> bool:
        return self._tags[name].get(f"{LOGGED}{folder}") == digest

    def _set_logged(self, name: str, folder: str, digest: str) -> None:
        self._set_tags(name, {f"{LOGGED}{folder}": digest})

    def _set_status(self, name: str, status: str, ended: float | None) -> None:
        """An open run's only if it changes; that of an ended one always, since its end may be another."""
        if status not in OPEN:
            self.client.set_terminated(self._runs[name], status, int(ended * 1000) if ended else None)
        elif self._statuses[name] != status:
            self.client.update_run(self._runs[name], status)
        self._statuses[name] = status


def _all_runs(client: "MlflowClient", experiment_id: str) -> Iterator[Any]:
    token = None
    while True:
        page = client.search_runs([experiment_id], max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _digest(texts: list[str]) -> str:
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:32]
