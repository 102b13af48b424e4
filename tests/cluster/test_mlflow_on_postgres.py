"""clusters/bin/start_mlflow.sh with a real Postgres that wants a password, in namespaces of its own."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.machines import ROOT, missing

NEEDED = ("initdb", "pg_ctl", "psql", "createdb", "runuser")
PROGRAMS = os.pathsep.join([os.environ["PATH"], *map(str, Path("/usr/lib/postgresql").glob("*/bin"))])
"""Debian keeps the server's programs off the path."""
ABSENT = [program for program in NEEDED if shutil.which(program, path=PROGRAMS) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.skipif(bool(ABSENT), reason=f"{', '.join(ABSENT)} not installed (apt-get install postgresql)"),
    pytest.mark.skipif(importlib.util.find_spec("psycopg") is None, reason="psycopg is not installed (make install)"),
]
SCRIPT = """
set -euo pipefail
ip link set lo up
mount -t tmpfs tmpfs /mnt
mkdir /mnt/db
echo hidden > /mnt/password
chown -R postgres /mnt/db /mnt/password
cd /mnt
runuser -u postgres -- "$(which initdb)" -D /mnt/db --username=ndcl --pwfile=/mnt/password --auth=scram-sha-256
options="-c listen_addresses=127.0.0.1 -c unix_socket_directories=/mnt/db -c fsync=off"
runuser -u postgres -- "$(which pg_ctl)" -D /mnt/db -w -l /mnt/db/log -o "$options" start
export PGHOST=127.0.0.1 PGUSER=ndcl
if PGPASSWORD=wrong createdb mlflow; then exit 9; fi
export PGPASSWORD=hidden
createdb mlflow
MLFLOW_STORE=postgresql://ndcl@127.0.0.1/mlflow bash "$1"
python -c "from mlflow import MlflowClient; MlflowClient('http://127.0.0.1:5000').create_experiment('tiny')"
echo "stored: $(psql --dbname=mlflow --tuples-only --no-align --command='select name from experiments')"
ps -eo args= | grep -v '^bash -c' | sed 's/^/runs: /'
"""


def test_runs_are_kept_there_and_no_process_shows_the_password(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{PROGRAMS}",
        "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT)),
    }
    spaces = ["unshare", "-n", "-m", "-p", "-f", "--mount-proc", "--kill-child"]
    command = [*spaces, "bash", "-c", SCRIPT, "_", str(ROOT / "clusters" / "bin" / "start_mlflow.sh")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "password authentication failed" in done.stderr, "anybody gets in"
    stored = done.stdout.partition("stored: ")[2].partition("runs: ")[0].split()
    assert sorted(stored) == ["Default", "tiny"]
    shown = [line for line in done.stdout.splitlines() if line.startswith("runs: ")]
    assert any("--backend-store-uri postgresql://ndcl@127.0.0.1/mlflow" in line for line in shown)
    assert not any("hidden" in line for line in shown)
