"""`ndcl cluster results`: from the head, and from what outlives it; MLflow here has all of it then."""

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from harness.cli import app
from harness.config.tracking_uri import store_uri
from harness.records import Journal
from tests.harness.cluster.made_clusters import changed
from tests.made.made_head import NAME, results_of_head
from tests.made.made_ray import MadeRay

GONE = "RuntimeError: Head node of cluster (ndcl) not found!"


@pytest.fixture
def head(tmp_path: Path) -> Path:
    return results_of_head(tmp_path / "head", tmp_path / "shared")


def results(tmp_path: Path, *options: str) -> Any:
    place = str(tmp_path / "shared")
    cluster = changed("aws", tmp_path, lambda values: values["metadata"].update(results=place)).path
    return CliRunner().invoke(
        app, ["cluster", "results", str(cluster), NAME, "--results", str(tmp_path / "mine"), *options]
    )


def logged(tmp_path: Path) -> set[str]:
    client = MlflowClient(store_uri(tmp_path / "mine"))
    found = client.search_runs([client.get_experiment_by_name(NAME).experiment_id])
    return {run.data.tags["ndcl.name"] for run in found}


@pytest.mark.parametrize("where", ["head", "gone", "storage"])
def test_all_comes_home_and_into_mlflow(made_ray: MadeRay, head: Path, tmp_path: Path, where: str) -> None:
    made_ray.answers("get-head-ip", "192.0.2.1" if where == "head" else GONE, code=where != "head")
    made_ray.answers("rsync-down", copied=head)
    made_ray.answers("")
    result = results(tmp_path, *(["--from-storage"] if where == "storage" else []))
    home = tmp_path / "mine"
    assert result.exit_code == 0, result.output
    records = Journal(home / NAME).read()
    assert records == Journal(head).read()
    assert {record.name for record in records} <= logged(tmp_path)
    assert (home / NAME / "report.html").is_file()
    assert f"results: {home / NAME}; page: {home / NAME / 'report.html'}" in result.output
    assert result.output.splitlines()[-1] == f"next: ndcl ui --results {home}"
    assert any(call.startswith("rsync-down") for call in made_ray.calls()) == (where == "head")


def test_a_sweep_that_the_storage_has_not_is_named(made_ray: MadeRay, tmp_path: Path) -> None:
    made_ray.answers("get-head-ip", GONE, code=1)
    (tmp_path / "shared").mkdir()
    result = results(tmp_path)
    assert result.exit_code == 2
    assert f"there is no sweep 'tiny' in {tmp_path / 'shared'}" in result.stderr
