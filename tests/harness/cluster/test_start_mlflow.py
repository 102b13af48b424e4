"""clusters/bin/start_mlflow.sh: which store the head's server gets, by variables, and where its password may stand."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.harness.cluster.made_clusters import ROOT

PYTHON = """#!/bin/bash
if [ "$1" = -c ]; then [ -f "$HOME/argv" ]; exit; fi  # whether the server answers
printf '%s ' "$@" > "$HOME/partial"
echo "$PGPASSWORD" > "$HOME/password"
mv "$HOME/partial" "$HOME/argv"
exec sleep 5
"""
"""Stands for Python: what MLflow's server is started with is written down."""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "python").write_text(PYTHON)
    (folder / "python").chmod(0o755)
    return folder


def started(home: Path, programs: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {"HOME": str(home), "PATH": f"{programs}:{os.environ['PATH']}", **variables}
    script = ROOT / "clusters" / "bin" / "start_mlflow.sh"
    return subprocess.run(["bash", script], env=environment, capture_output=True, text=True, check=False)


def test_without_variables_the_store_is_the_results_folder(home: Path, programs: Path) -> None:
    done = started(home, programs)
    assert done.returncode == 0, done.stderr
    argv = (home / "argv").read_text()
    assert f"--backend-store-uri sqlite:///{home}/results/mlflow.db " in argv
    assert f"--artifacts-destination {home}/results/mlartifacts " in argv
    assert "--host 127.0.0.1 " in argv


def test_variables_name_another_store_and_the_password_stays_in_the_environment(home: Path, programs: Path) -> None:
    variables = {"MLFLOW_STORE": "postgresql://ndcl@db/mlflow", "MLFLOW_ARTIFACTS": "s3://bucket/mlflow"}
    done = started(home, programs, **variables, PGPASSWORD="hidden")
    assert done.returncode == 0, done.stderr
    argv = (home / "argv").read_text()
    assert "--backend-store-uri postgresql://ndcl@db/mlflow " in argv
    assert "--artifacts-destination s3://bucket/mlflow " in argv
    assert "hidden" not in argv
    assert (home / "password").read_text() == "hidden\n"


@pytest.mark.parametrize("store", ["postgresql://ndcl:hidden@db/mlflow", "postgresql://db/mlflow?password=hidden"])
def test_a_store_with_a_password_is_refused_without_showing_it(home: Path, programs: Path, store: str) -> None:
    done = started(home, programs, MLFLOW_STORE=store)
    assert done.returncode == 2
    assert "MLFLOW_STORE holds a password; leave it out, and give it as PGPASSWORD or in ~/.pgpass" in done.stderr
    assert "hidden" not in done.stdout + done.stderr
    assert not (home / "argv").exists()


def test_a_server_that_ends_at_once_is_told_with_its_log(home: Path, programs: Path) -> None:
    (programs / "python").write_text("#!/bin/bash\n[ \"$1\" = -c ] && exit 1\necho 'no such database'\n")
    done = started(home, programs, MLFLOW_STORE="postgresql://ndcl@db/mlflow")
    assert done.returncode == 1
    assert "MLflow did not come up" in done.stderr
    assert "no such database" in done.stderr
