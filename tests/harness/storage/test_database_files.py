"""Stores of Optuna and MLflow whose set-up is killed between two of its statements: the next start makes them anew."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.search.study_search import open_storage
from harness.tracking.client import open_client

KILLED = """
import os, signal, sys
from pathlib import Path
import sqlalchemy
from harness.search.study_search import open_storage
from harness.tracking.client import open_client

seen = []
def count(*_):
    seen.append(None)
    if len(seen) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", count)
{"mlflow": open_client, "optuna": open_storage}[sys.argv[1]](Path(sys.argv[2]))
"""


def kill_while_opening(store: str, path: Path, statement: int) -> None:
    """Open a store in a process that is killed before its so-manieth statement."""
    command = [sys.executable, "-c", KILLED, store, str(path), str(statement)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize("statement", [50, 200])
def test_an_mlflow_store_whose_making_was_killed_is_made_anew(tmp_path: Path, statement: int) -> None:
    kill_while_opening("mlflow", tmp_path, statement)
    assert not (tmp_path / "mlflow.db").exists()
    client = open_client(tmp_path)
    assert client.get_experiment(client.create_experiment("mine")).name == "mine"
    assert [path.name for path in tmp_path.glob("mlflow*")] == ["mlflow.db"]


@pytest.mark.parametrize("statement", [12, 30])
def test_an_optuna_store_whose_making_was_killed_is_made_anew(tmp_path: Path, statement: int) -> None:
    path = tmp_path / "optuna.db"
    kill_while_opening("optuna", path, statement)
    assert not path.exists()
    assert open_storage(path).get_all_studies() == []
    assert [path.name for path in tmp_path.glob("optuna*")] == ["optuna.db"]
