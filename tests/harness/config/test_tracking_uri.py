"""Which store a sweep's runs go to, and that no secret of an address is written or shown."""

from pathlib import Path

import pytest
import yaml

from harness.config import load_sweep
from harness.config.tracking_uri import artifact_folder, is_server, store_uri, tracking_uri, without_secrets
from harness.plan.changes import extends
from harness.plan.sweep_file import configured_uri
from harness.records.places import SWEEP_FILE
from ndcl.errors import UserError
from tests.integration import sweeps


def test_the_sweeps_own_uri_comes_before_the_environments_and_the_results_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracking_uri(tmp_path) == store_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    assert artifact_folder(tmp_path) == tmp_path / "mlartifacts"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:pass@tracking:5000")
    assert tracking_uri(tmp_path) == "http://user:pass@tracking:5000"
    assert tracking_uri(tmp_path, "databricks") == "databricks"


@pytest.mark.parametrize(
    ("uri", "server"),
    [("https://a", True), ("databricks", True), ("databricks://profile", True), ("postgresql+psycopg2://a/b", False)],
)
def test_servers_keep_artifacts_and_databases_do_not(uri: str, server: bool) -> None:
    assert is_server(uri) is server


@pytest.mark.parametrize("uri", ["file:///runs", "./mlruns", "ftp://a"])
def test_what_mlflow_can_not_open_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match=r"MLFLOW_TRACKING_URI: .* is no tracking URI of MLflow; give https://HOST"):
        tracking_uri(tmp_path)


SECRETS = [
    "http://me:hunter2@tracking:5000",
    "https://hunter2@tracking",
    "postgresql://me:hunter2@db/mlflow",
    "postgresql://db/mlflow?user=me&password=hunter2",
    "mssql+pyodbc://db/mlflow?api_token=hunter2&x=1",
]


@pytest.mark.parametrize("uri", SECRETS)
def test_a_file_with_a_secret_is_refused_without_repeating_it(tmp_path: Path, uri: str) -> None:
    path = sweeps.written(tmp_path, tracking={"uri": uri})
    with pytest.raises(UserError) as error:
        load_sweep(path)
    assert str(error.value).startswith(f"{path}: tracking.uri: it holds a user or a password")
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in str(error.value)
    assert "hunter2" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("uri", SECRETS)
def test_secrets_are_blotted_out_wherever_they_are_shown(uri: str) -> None:
    shown = without_secrets(f"OSError: {uri} failed")
    assert "hunter2" not in shown
    assert shown.endswith(" failed")


def test_a_user_of_a_database_is_no_secret(tmp_path: Path) -> None:
    uri = "postgresql://me@db/mlflow"
    config = load_sweep(sweeps.written(tmp_path, tracking={"uri": uri}))
    assert config.tracking.uri == uri
    assert load_sweep(sweeps.written(tmp_path), [f"tracking.uri={uri}"]).tracking.uri == uri


def test_a_sweep_remembers_its_uri_and_may_be_given_another(tmp_path: Path) -> None:
    assert configured_uri(tmp_path) is None
    plans = [
        sweeps.planned(sweeps.written(tmp_path, **changes), tmp_path)
        for changes in ({}, {"tracking": {"uri": "databricks"}})
    ]
    assert plans[1].tracking_uri == "databricks"
    (tmp_path / SWEEP_FILE).write_text(yaml.safe_dump(plans[1].resolved))
    assert configured_uri(tmp_path) == "databricks"
    assert extends(plans[0].resolved, plans[1].resolved)
