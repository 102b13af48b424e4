"""`ndcl sync` on the folder of a sweep that is made by hand, against real stores."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from typer.testing import CliRunner

from harness.cli import app
from harness.config.tracking_uri import store_uri
from harness.plan import Plan
from harness.records import Journal, TrialRecord
from harness.storage import locked
from harness.sweep.prepare import prepare
from harness.tracking import tracker as tracker_module
from tests.integration import sweeps
from tests.made.made_records import RATE, record

ONE_STUDY: dict[str, Any] = {
    "data": {"name": "digits", "targets": ["scan"]},
    "algorithms": {"erm": None},
    "final": {"seeds": 2, "ensemble": "none"},
    "tracking": {"figures": True},
}


@pytest.fixture
def plan(tmp_path: Path, made_store: bytes) -> Plan:
    """A sweep of one study that has run: 3 search trials and 2 final runs of the second."""
    made = sweeps.planned(sweeps.written(tmp_path, **ONE_STUDY), tmp_path / "results")
    made.folder.mkdir(parents=True)
    for store in (made.results / "mlflow.db", tmp_path / "other.db"):
        store.write_bytes(made_store)
    prepare(made, fresh=False)
    search = [record(0), record(1, accuracy=0.75), record(2, "pruned", steps=(2,))]
    finals = [record(seed - 1, stage="final", rate=search[1].values[RATE], seed=seed) for seed in (1, 2)]
    for one in (*search, *finals):
        Journal(made.folder).write(one)
    (made.folder / "report.html").write_text("<p>the report</p>")
    return made


def sync(plan: Plan) -> Any:
    return CliRunner().invoke(app, ["sync", plan.name, "--results", str(plan.results)])


def runs(uri: str) -> dict[str, Run]:
    client = MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    return {run.data.tags["ndcl.name"]: run for run in found}


def files(plan: Plan, run: Run, folder: str) -> set[str]:
    artifacts = MlflowClient(store_uri(plan.results)).list_artifacts(run.info.run_id, folder)
    return {artifact.path.removeprefix(f"{folder}/") for artifact in artifacts}


def test_everything_is_written_from_the_folder_and_again_at_no_change(plan: Plan) -> None:
    result = sync(plan)
    assert (result.exit_code, result.output) == (0, f"MLflow at {store_uri(plan.results)} has all of sweep tiny\n")
    found = runs(store_uri(plan.results))
    study = plan.studies[0].key.name
    names = [f"{study}.search-00{n}" for n in range(3)] + [f"{study}.final-00{n}" for n in range(2)]
    assert set(found) == {"tiny", study, *names}
    assert [found[name].data.tags["selected"] for name in names] == ["false", "true", "false", "true", "true"]
    assert found[study].data.tags["ratio"] == "20"
    assert "| optimizer.learning_rate | 0.002 |" in found[study].data.tags["mlflow.note.content"]
    assert files(plan, found[study], "selection") == {"best_config.yaml", "selection.json"}
    assert "optimization_history.png" in files(plan, found[study], "optuna")
    assert files(plan, found["tiny"], "report") == {"report.html", "sweep.yaml"}
    assert "| scan · erm | done | 5/5 | 75.0 % | 25.0 % |" in found["tiny"].data.tags["mlflow.note.content"]
    experiment = MlflowClient(store_uri(plan.results)).get_experiment_by_name("tiny")
    assert experiment.tags["mlflow.note.content"] == found["tiny"].data.tags["mlflow.note.content"]
    assert {run.info.status for run in found.values()} == {"FINISHED", "KILLED"}
    assert sync(plan).exit_code == 0
    again = runs(store_uri(plan.results))
    assert {n: run.to_dictionary() for n, run in again.items()} == {n: run.to_dictionary() for n, run in found.items()}


def test_what_a_killed_sweep_left_running_is_told_as_scheduled(plan: Plan) -> None:
    left = record(2, "running", steps=(2,))
    Journal(plan.folder).write(left)
    assert sync(plan).exit_code == 0
    found = runs(store_uri(plan.results))
    assert {found[name].info.status for name in (left.name, left.study.name, "tiny")} == {"SCHEDULED"}


def test_another_store_gets_all_of_it(
    plan: Plan, tmp_path: Path, made_store: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = f"sqlite:///{tmp_path / 'other.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
    assert sync(plan).exit_code == 0
    assert len(runs(other)) == 7
    assert (plan.results / "mlflow.db").read_bytes() == made_store
    assert not list(tmp_path.glob("mlruns"))


def test_a_server_that_is_away_is_told_with_what_is_left_to_do(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker_module, "PATIENCE_SECONDS", 0)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:hunter2@127.0.0.1:{nobody.getsockname()[1]}")
        result = sync(plan)
    assert result.exit_code == 1
    assert result.stderr.startswith("MLflow at http://***@127.0.0.1:")
    assert "is not complete: 9 entries are not written yet (" in result.stderr
    assert "Connection refused" in result.stderr
    assert "hunter2" not in result.output
    assert result.stderr.count("\n") == 1


def test_a_sweep_that_runs_does_it_by_itself(plan: Plan) -> None:
    with locked(plan.folder):
        result = sync(plan)
    assert result.exit_code == 2
    assert "is being run by another process" in result.stderr


def test_a_run_of_another_folders_sweep_is_left_alone(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'other.db'}")
    other = tracker_module.Tracker(tmp_path / "elsewhere", "tiny", "of somebody")
    other.start()
    other.push(replace(record(0, "running"), number=77))
    other.close(60)
    assert sync(plan).exit_code == 0
    somebodys: TrialRecord = replace(record(0), number=77)
    assert runs(f"sqlite:///{tmp_path / 'other.db'}")[somebodys.name].info.status == "RUNNING"
