"""The MLflow runs of one sweep: each is brought to what is known, whatever has been logged before."""

import hashlib
import json
import platform
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.config.dotted_keys import flat
from harness.config.tracking_uri import artifact_folder
from harness.records import ENDED, StudyKey, TrialRecord
from harness.search.figures import StudyFigures
from harness.state import StudySummary
from harness.storage.checkpoints import TRACE, trace_of
from harness.tracking.artifacts import data_input, write_results
from harness.tracking.batches import log_values
from harness.tracking.client import keeps_artifacts, open_client
from harness.tracking.contents import (
    MARKER,
    NOTE,
    TARGET,
    TARGET_MARKER,
    Point,
    changed_names,
    environment_tags,
    points,
    study_metrics,
    study_tags,
    sweep_note,
    trial_tags,
)
from harness.tracking.items import Item, StudySelection, SweepSummary
from harness.tracking.names import MAX_PARAM_LENGTH, RunNames, cut, valid_key

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from harness.tracking.batches import Value

CONFIG, WHERE, NAMES = "config.yaml", "environment.json", "names.json"
FIGURES, RESULTS, SELECTION, REPORT, PROFILE = "optuna", "results", "selection", "report", "profile"
"""Folders among the artifacts of a run."""
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
"""The status of a study's run by its stage; while it continues it depends on whether the sweep runs."""
NAME, SWEEP_ID, FOLDER = "ndcl.name", "ndcl.sweep_id", "ndcl.folder"
"""Tags that tell which record and which sweep a run stands for, and where that sweep's results lie."""
LOGGED = "ndcl.logged."
"""Begin of the tags that tell which contents of an artifact folder have been logged."""
LEFT_OUT = "ndcl.left_out"
"""Tag of a run that lacks what MLflow won't ever take, with the reasons."""
OPEN = ("RUNNING", "SCHEDULED")


class SweepRuns:
    """Run ids by name, and what is known to be logged."""

    def __init__(
        self,
        results: Path,
        sweep: str,
        sweep_id: str,
        configured: str | None = None,
        say: Callable[[str], None] = lambda line: None,
        shown: RunNames | None = None,
    ) -> None:
        """Open the store that `harness.config.tracking_uri.tracking_uri` names, and look up what it has of the sweep.

        `say` is called if that of the results folder was damaged, and is set aside.
        """
        self.sweep, self.sweep_id, self.shown = sweep, sweep_id, shown or RunNames()
        self.folder = f"{platform.node()}:{(results / sweep).resolve()}"
        self.client = open_client(results, configured, say)
        artifacts = None if keeps_artifacts(results, configured) else (artifact_folder(results) / sweep).as_uri()
        self.experiment_id = self._experiment(artifacts)
        self._runs: dict[str, str] = {}
        self._steps: dict[str, set[int]] = {}
        self._unsure: dict[str, set[str]] = {}
        """Runs that are new, or were found half-written, with the parameters that they have."""
        self._tags: dict[str, dict[str, str]] = {}
        """Tags of runs as far as they are known; only what changes is written."""
        self._statuses: dict[str, str] = {}
        self._titles: dict[str, str] = {}
        """What runs are called on MLflow's pages."""
        self._values: dict[str, dict[str, tuple[float, int]]] = {}
        """Of runs that were found in the store: the newest value of each metric, and its step."""
        self._left_out: dict[str, str] = {}
        self._environments: dict[str, dict[str, Any]] = {}
        for run in all_runs(self.client, self.experiment_id):
            self._remember(run)

    def sync(self, item: Item, is_running: bool) -> dict[str, str]:
        """Bring a run to what `item` says; `is_running` tells whether studies that are not done continue now.

        Returns the values that MLflow won't ever take, and why; they are left out.
        """
        self._left_out = {}
        match item:
            case TrialRecord():
                self.sync_trial(item)
            case StudySummary():
                self._sync_study(item, is_running)
            case StudySelection():
                self._log_selection(item)
            case StudyFigures():
                self._log_figures(item)
            case SweepSummary():
                self._sync_sweep(item, is_running)
        return self._left_out

    def sync_trial(self, record: TrialRecord) -> None:
        """Bring a trial's run to what the record says. A run that says so already is left alone."""
        self._rename(record.name, self.shown.of_trial(record.study, record.stage, record.number))
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
        late = [evaluation for evaluation in record.evaluations if evaluation["step"] in steps]
        metrics += self._target_points(record, late, run_id)
        self._log(record.name, metrics, trial_tags(record), params)
        steps.update(evaluation["step"] for evaluation in new)
        self._unsure.pop(record.name, None)
        self._set_status(record.name, STATUS[record.state], record.ended)  # last: it says that all is there

    def _sync_study(self, state: StudySummary, is_running: bool) -> None:
        run_id = self._parent(state.key, state.started)
        self._rename(state.key.name, self.shown.of_study(state.key))
        self._log(state.key.name, self._new_values(state), study_tags(state))
        if state.best:
            self._log_environment(state.key.name, run_id, state.best.environment)
        if state.is_selected:
            self._mark_selected(state)
        going_on = "RUNNING" if is_running else "SCHEDULED"
        self._set_status(state.key.name, STUDY_STATUS.get(state.stage, going_on), state.updated)

    def _new_values(self, state: StudySummary) -> list[Point]:
        """A study's metrics that have changed. At step 0 all, since MLflow draws what has steps as a curve.

        Version 0.1 wrote them at other steps; there they stay, since MLflow takes the last step's for the newest.
        """
        known = self._values.setdefault(state.key.name, {})
        steps = {key: known[key][1] if key in known else 0 for key in study_metrics(state)}
        new = {key: value for key, value in study_metrics(state).items() if (value, steps[key]) != known.get(key)}
        known.update({key: (value, steps[key]) for key, value in new.items()})
        return [(key, value, int(state.updated * 1000), steps[key]) for key, value in new.items()]

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

    def _sync_sweep(self, state: SweepSummary, is_running: bool) -> None:
        """The experiment's description, and the run that has the report."""
        note = sweep_note(state)
        self.client.set_experiment_tag(self.experiment_id, NOTE, note)
        started = int(state.started * 1000) or None
        run_id = self._runs.get(state.name) or self._create(state.name, {"role": "sweep"}, started, state.name)
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
        """Take note of a run in the store; an earlier sweep of this name in this folder can't continue any more."""
        tags = run.data.tags
        if tags.get(SWEEP_ID) == self.sweep_id:
            name = tags[NAME]
            self._runs[name] = run.info.run_id
            self._tags[name] = dict(tags)
            self._statuses[name] = run.info.status
            self._titles[name] = run.info.run_name
            if tags.get("role") == "study":
                newest = run.data.to_proto().metrics
                self._values[name] = {metric.key: (metric.value, metric.step) for metric in newest}
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
        return {key: value for key, value in flat(record.config).items() if valid_key(key) not in known}

    def _log_environment(self, name: str, run_id: str, environment: dict[str, Any]) -> None:
        """Where a trial ran, and its data set as an input of the run, once both are known."""
        if "data" not in environment or self._environments.get(name) == environment:
            return
        self.client.log_dict(run_id, environment, WHERE)
        if names := changed_names(environment["data"]):
            self.client.log_dict(run_id, names, NAMES)
        self.client.log_inputs(run_id, [data_input(environment["data"])])
        self._environments[name] = environment

    def _log_results(self, record: TrialRecord, run_id: str) -> None:
        with tempfile.TemporaryDirectory(prefix="ndcl-results-") as folder:
            if write_results(record, Path(folder)):
                self.client.log_artifacts(run_id, folder, RESULTS)
        if record.config.get("profile") is not None and record.checkpoint is not None:
            self._log_trace(record.checkpoint, run_id)

    def _log_trace(self, checkpoint: str, run_id: str) -> None:
        trace = trace_of(checkpoint)
        if trace is not None:
            with tempfile.TemporaryDirectory(prefix="ndcl-trace-") as folder:
                (Path(folder) / TRACE).write_bytes(trace)
                self.client.log_artifacts(run_id, folder, PROFILE)

    def _mark_selected(self, state: StudySummary) -> None:
        """Tag the selected trial and its final runs, and no others of the study."""
        for name in self._runs:
            if name.startswith((f"{state.key.name}.search-", f"{state.key.name}.final-")):
                self._set_tags(name, {"selected": str(name in state.selected).lower()})

    def _experiment(self, artifacts: str | None) -> str:
        found = self.client.get_experiment_by_name(self.sweep)
        if found is not None and found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id if found else self.client.create_experiment(self.sweep, artifacts))

    def _parent(self, key: StudyKey, started: float = 0.0) -> str:
        """The run of a study, which is made if there is none, as begun at `started`."""
        if key.name in self._runs:
            return self._runs[key.name]
        tags = {**vars(key), "role": "study"}
        return self._create(key.name, tags, int(started * 1000) or None, self.shown.of_study(key))

    def _create_trial(self, record: TrialRecord) -> str:
        tags = {
            **vars(record.study),
            **environment_tags(record.environment),
            "role": "trial",
            "stage": record.stage,
            "selected": "false",
            "mlflow.parentRunId": self._parent(record.study, record.started),
        }
        self._steps[record.name], self._unsure[record.name] = set(), set()
        shown = self.shown.of_trial(record.study, record.stage, record.number)
        return self._create(record.name, tags, int(record.started * 1000), shown)

    def _create(self, name: str, tags: dict[str, str], started_ms: int | None, shown: str) -> str:
        tags = {key: cut(value) for key, value in tags.items()}
        tags |= {NAME: name, SWEEP_ID: self.sweep_id, FOLDER: self.folder}
        run = self.client.create_run(self.experiment_id, started_ms, tags, shown)
        self._runs[name], self._tags[name], self._titles[name] = str(run.info.run_id), tags, shown
        self._statuses[name] = run.info.status
        return self._runs[name]

    def _rename(self, name: str, shown: str) -> None:
        """Have a run called as it is now; by version 0.1, and when the sweep had fewer settings, it was otherwise."""
        if name in self._runs and self._titles[name] != shown:
            self.client.update_run(self._runs[name], name=shown)
            self._titles[name] = shown

    def _logged_steps(self, name: str, run_id: str) -> set[int]:
        """Steps that are in the store; asked once per run, then remembered."""
        if name not in self._steps:
            self._steps[name] = {point.step for point in self.client.get_metric_history(run_id, MARKER)}
        return self._steps[name]

    def _target_points(self, record: TrialRecord, logged: Sequence[dict[str, Any]], run_id: str) -> list[Point]:
        """Of a trial that looks at the target once, at its end: what its logged evaluations have learned since."""
        if record.state not in ENDED or not any(each["target"].get("num_images") == 0 for each in record.evaluations):
            return []
        known = {point.step for point in self.client.get_metric_history(run_id, TARGET_MARKER)}
        late = [each for each in logged if each["step"] not in known and each["target"]["num_images"]]
        return [point for each in late for point in points(record, each) if point[0].startswith(f"{TARGET}/")]

    def _is_complete(self, name: str, state: str) -> bool:
        """Whether a trial's run has all of a record in this state: its tag tells of it, and its status agrees."""
        return self._tags.get(name, {}).get("state") == state and self._statuses[name] == STATUS.get(state)

    def _log(
        self, name: str, metrics: Sequence[Point], tags: dict[str, str], params: dict[str, Any] | None = None
    ) -> None:
        """The parameters first: a run that has its state has them all. Of the tags what has changed."""
        from mlflow.entities import Metric, Param, RunTag

        texts = {valid_key(key): cut(str(value), MAX_PARAM_LENGTH) for key, value in (params or {}).items()}
        self._log_values(name, [Param(key, text) for key, text in texts.items()])
        tags = {valid_key(key): cut(value) for key, value in tags.items()}
        changed = {key: value for key, value in tags.items() if self._tags[name].get(key) != value}
        points = [Metric(*point) for point in metrics]
        self._log_values(name, [*points, *(RunTag(key, value) for key, value in changed.items())])
        self._tags[name].update(changed)

    def _log_values(self, name: str, values: Sequence["Value"]) -> None:
        """What MLflow refuses is left out, and the run says so."""
        if not values:
            return
        refused = log_values(self.client, self._runs[name], values)
        if refused:
            self._left_out |= {f"{key} of {name}": reason for key, reason in refused.items()}
            text = "; ".join(f"{key}: {reason}" for key, reason in refused.items())
            self.client.set_tag(self._runs[name], LEFT_OUT, cut(text))

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


def all_runs(client: "MlflowClient", experiment_id: str, wanted: str = "") -> Iterator[Any]:
    """Those of an experiment, but for deleted ones; `wanted` is a filter in MLflow's words."""
    token = None
    while True:
        page = client.search_runs([experiment_id], wanted, max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _digest(texts: list[str]) -> str:
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:32]
