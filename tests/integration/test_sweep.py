"""Whole sweeps on the embedded digits, with a real Ray, Optuna and MLflow."""

import os
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from rich.console import Console

from harness.cli.progress import Progress
from harness.config.tracking_uri import store_uri
from harness.storage import locked
from harness.sweep.run import SweepResult, run_sweep
from harness.sweep.tune import SweepScheduler
from ndcl.errors import UserError
from tests.integration import sweeps
from tests.servers.listening import check_listeners, listeners_meanwhile

ONE_STUDY: dict[str, Any] = {
    "data": {"name": "digits", "targets": ["scan"]},
    "algorithms": {"erm": None},
    "search": {"num_trials": 2, "scheduler": {"name": "none"}},
    "final": {"seeds": 1},
}


def _run(path: Path, results: Path, **options: Any) -> SweepResult:
    return run_sweep(sweeps.planned(path, results), Progress(Console(), quiet=True), **options)


def _artifacts_of_studies(results: Path) -> set[str]:
    """Names of the files and folders."""
    client = MlflowClient(store_uri(results))
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id], "tags.role = 'study'")
    return {artifact.path for run in runs for artifact in client.list_artifacts(run.info.run_id)}


def test_a_sweep_runs_to_its_end_and_again_at_no_cost(tmp_path: Path, local_ray_session: None) -> None:
    path = sweeps.written(tmp_path, data=ONE_STUDY["data"], tracking={"figures": True})
    with listeners_meanwhile(os.getpid()) as listeners:
        result = _run(path, tmp_path)
    check_listeners(listeners)
    assert result.tracking_problem is None
    assert "optuna" in _artifacts_of_studies(tmp_path)
    assert {study.stage for study in result.studies} == {"done"}
    sweeps.check_complete(sweeps.planned(path, tmp_path))
    for study in result.studies:
        finals = [r for r in result.records if r.study == study.key and r.stage == "final"]
        assert study.best is not None
        assert [r.values for r in finals] == [study.best.values] * 2
        assert sorted(r.config["seed"] for r in finals) == [1, 2]

    again = _run(path, tmp_path)
    assert again.records == result.records
    sweeps.check_complete(sweeps.planned(path, tmp_path))


@pytest.mark.soak
def test_more_trials_and_seeds_extend_a_sweep(tmp_path: Path, local_ray_session: None) -> None:
    first = _run(sweeps.written(tmp_path, **ONE_STUDY), tmp_path)
    longer = ONE_STUDY | {"search": ONE_STUDY["search"] | {"num_trials": 3}, "final": {"seeds": 2}}
    second = _run(sweeps.written(tmp_path, **longer), tmp_path)
    by_name = {record.name: record for record in second.records}
    assert all(by_name[record.name] == record for record in first.records)
    assert sum(record.stage == "search" for record in second.records) == 3
    best = second.studies[0].best
    assert best is not None
    repeated = [r.config["seed"] for r in second.records if r.stage == "final" and r.values == best.values]
    assert sorted(repeated) == [1, 2]


@pytest.mark.soak
def test_a_changed_sweep_is_refused_unless_fresh(tmp_path: Path, local_ray_session: None) -> None:
    _run(sweeps.written(tmp_path, **ONE_STUDY), tmp_path)
    other = ONE_STUDY | {"train": {**sweeps.TINY["train"], "batch_size": 5}}
    with pytest.raises(UserError, match=r"batch_size: 4 -> 5.*--fresh"):
        _run(sweeps.written(tmp_path, **other), tmp_path)
    result = _run(sweeps.written(tmp_path, **other), tmp_path, fresh=True)
    assert {record.config["batch_size"] for record in result.records} == {5}
    client = MlflowClient(store_uri(tmp_path))
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert len(runs) == 2 * (1 + 1 + 3)
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_a_nan_loss_fails_its_trials_and_the_sweep_goes_on(tmp_path: Path, local_ray_session: None) -> None:
    exploding = {"optimizer.learning_rate": {"type": "float", "low": 1e30, "high": 1e31, "default": 1e30}}
    algorithms = {"erm": None, "ndcl": {"space": exploding}}
    changes = {"data": {"name": "digits", "targets": ["scan"]}, "algorithms": algorithms}
    result = _run(sweeps.written(tmp_path, **changes), tmp_path)
    failing = [record for record in result.records if record.study.algorithm == "ndcl"]
    assert [record.state for record in failing] == ["failed"] * 3
    assert "NonFiniteLossError" in (failing[0].reason or "")
    stages = {study.key.algorithm: (study.stage, study.reason) for study in result.studies}
    assert stages["erm"] == ("done", None)
    assert stages["ndcl"][0] == "stopped"
    assert "3 of 3 trials failed" in (stages["ndcl"][1] or "")
    client = MlflowClient(store_uri(tmp_path))
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    by_name = {run.data.tags["ndcl.name"]: run for run in runs}
    assert by_name[failing[0].name].info.status == "FAILED"
    assert by_name[failing[0].name].data.tags["failure_reason"] == failing[0].reason


def test_what_was_lost_by_optuna_is_taken_from_the_journal(tmp_path: Path, local_ray_session: None) -> None:
    _run(sweeps.written(tmp_path, **ONE_STUDY), tmp_path)
    assert "optuna" not in _artifacts_of_studies(tmp_path), "no figures were asked for"
    (tmp_path / "tiny" / "optuna.db").unlink()
    path = sweeps.written(tmp_path, **ONE_STUDY)
    _run(path, tmp_path)
    sweeps.check_complete(sweeps.planned(path, tmp_path))


def test_a_fault_of_rays_own_is_survived(
    tmp_path: Path, local_ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation, seen = SweepScheduler.on_trial_result, []

    def fails_once(self: SweepScheduler, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        seen.append(trial.config["name"])
        if len(seen) == 3:  # as Tune does when the memory monitor kills an idle actor
            raise RuntimeError("Caught unexpected exception: 2 worker(s) were killed")
        return evaluation(self, controller, trial, result)

    monkeypatch.setattr(SweepScheduler, "on_trial_result", fails_once)
    path = sweeps.written(tmp_path, **ONE_STUDY)
    result = _run(path, tmp_path)
    assert max(record.attempts for record in result.records) == 2
    sweeps.check_complete(sweeps.planned(path, tmp_path))


@pytest.mark.soak
def test_ray_that_fails_always_ends_the_sweep_with_one_line(
    tmp_path: Path, local_ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: Any) -> str:
        raise RuntimeError("no memory")

    monkeypatch.setattr(SweepScheduler, "on_trial_result", fails)
    with pytest.raises(UserError, match="Ray failed 4 times in a row") as error:
        _run(sweeps.written(tmp_path, **ONE_STUDY), tmp_path)
    assert "\n" not in str(error.value)
    assert "no memory" in (tmp_path / "tiny" / "faults.log").read_text()
    assert {record.state for record in sweeps.records(tmp_path)} == {"interrupted"}


def test_two_processes_do_not_run_the_same_sweep(tmp_path: Path) -> None:
    path = sweeps.written(tmp_path, **ONE_STUDY)
    plan = sweeps.planned(path, tmp_path / "results")
    plan.folder.mkdir(parents=True)
    with locked(plan.folder):
        code, output = sweeps.finished(path, plan.results)
    assert code == 2
    assert output.startswith("ndcl: error: sweep 'tiny'")
    assert "another process" in output
    assert output.count("\n") == 1
