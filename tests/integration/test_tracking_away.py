"""A whole sweep whose tracking server is never there, with secrets in its environment: it trains to its end, says so
in one line, writes no secret anywhere, and `ndcl sync` completes MLflow afterwards."""

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli import app
from tests.integration import sweeps

SECRETS = {
    "MLFLOW_TRACKING_USERNAME": "user-that-is-planted",
    "MLFLOW_TRACKING_PASSWORD": "password-that-is-planted",
    "AWS_ACCESS_KEY_ID": "key-that-is-planted",
    "AWS_SECRET_ACCESS_KEY": "secret-that-is-planted",
}
ONE_STUDY: dict[str, Any] = {
    "data": {"name": "digits", "targets": ["scan"]},
    "algorithms": {"erm": None},
    "search": {"num_trials": 1, "scheduler": {"name": "none"}},
    "final": {"seeds": 1},
}


@pytest.fixture
def logs() -> Iterator[Path]:
    """Where Ray's own logs go; the path of its sockets, below it, must be short."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as name:
        yield Path(name)


def with_a_secret(folder: Path) -> list[str]:
    """Files below `folder` in which one of the planted secrets stands, as text or within a pickle or database."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert files
    return [str(path) for path in files if b"-is-planted" in path.read_bytes()]


@pytest.mark.soak
def test_a_sweep_without_its_server(tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, results = sweeps.written(tmp_path, **ONE_STUDY), tmp_path / "results"
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        for name, value in SECRETS.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("RAY_TMPDIR", str(logs))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:uri-that-is-planted@{address}")
        code, output = sweeps.finished(path, results)
    assert code == 0, output
    assert {record.state for record in sweeps.records(results)} == {"finished"}
    [warning] = [line for line in output.splitlines() if "can't be reached" in line]
    assert warning.startswith(f"MLflow at http://***@{address} can't be reached (")
    assert "training continues, and what is missing there follows" in warning
    assert f"complete it with: ndcl sync tiny --results {results}\n" in output
    assert f"\nMLflow: http://***@{address}\n" in output
    assert "Traceback" not in output

    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    result = CliRunner().invoke(app, ["sync", "tiny", "--results", str(results)])
    assert result.exit_code == 0, result.output
    sweeps.check_complete(sweeps.planned(path, results))
    assert "-is-planted" not in output + result.output
    assert with_a_secret(results) == []
    assert with_a_secret(logs) == []
