"""clusters/bin/start_mlflow.sh with a real Postgres that wants a password and an object store, in namespaces."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clusters_live.machines import ROOT, missing

NEEDED = ("initdb", "pg_ctl", "psql", "createdb", "runuser")
PROGRAMS = os.pathsep.join([os.environ["PATH"], *map(str, Path("/usr/lib/postgresql").glob("*/bin"))])
"""Debian keeps the server's programs off the path."""
ABSENT = [program for program in NEEDED if shutil.which(program, path=PROGRAMS) is None]
pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.skipif(bool(ABSENT), reason=f"{', '.join(ABSENT)} not installed (apt-get install postgresql)"),
    pytest.mark.skipif(importlib.util.find_spec("psycopg") is None, reason="psycopg is not installed (make install)"),
]
LOGGED = """
from mlflow import MlflowClient
client = MlflowClient('http://127.0.0.1:5000')
run = client.create_run(client.create_experiment('tiny'))
client.log_text(run.info.run_id, 'what was found', 'report.txt')
print('artifact:', client.list_artifacts(run.info.run_id)[0].path, 'at', run.info.artifact_uri.partition(':')[0])
"""
BUCKET = """
import sys, boto3
bucket = boto3.resource('s3', endpoint_url='http://127.0.0.1:9000', region_name='us-east-1').Bucket('results')
if sys.argv[1] == 'make':
    bucket.create()
for item in bucket.objects.all():
    print('kept:', item.key, item.get()['Body'].read().decode())
"""
SCRIPT = """
set -euo pipefail
ip link set lo up
python -m moto.server -H 127.0.0.1 -p 9000 > /dev/null 2>&1 &
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
export AWS_ACCESS_KEY_ID=key AWS_SECRET_ACCESS_KEY=concealed MLFLOW_S3_ENDPOINT_URL=http://127.0.0.1:9000
python -c "$3" make
MLFLOW_STORE=postgresql://ndcl@127.0.0.1/mlflow MLFLOW_ARTIFACTS=s3://results/mlflow bash "$1"
env --unset=AWS_ACCESS_KEY_ID --unset=AWS_SECRET_ACCESS_KEY python -c "$2"
python -c "$3" look
echo "stored: $(psql --dbname=mlflow --tuples-only --no-align --command='select name from experiments')"
ps -ewwo args= | grep -v '^bash -c' | sed 's/^/runs: /'
"""


def test_runs_and_artifacts_are_kept_there_and_no_process_shows_a_secret(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{PROGRAMS}",
        "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT)),
    }
    spaces = ["unshare", "-n", "-m", "-p", "-f", "--mount-proc", "--kill-child"]
    command = [*spaces, "bash", "-c", SCRIPT, "_", str(ROOT / "clusters" / "bin" / "start_mlflow.sh")]
    command += [LOGGED, BUCKET]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "password authentication failed" in done.stderr, "anybody gets in"
    assert "artifact: report.txt at mlflow-artifacts" in done.stdout
    (kept,) = [line for line in done.stdout.splitlines() if line.startswith("kept: ")]
    assert kept.startswith("kept: mlflow/"), kept
    assert kept.endswith("/artifacts/report.txt what was found"), kept
    stored = done.stdout.partition("stored: ")[2].partition("runs: ")[0].split()
    assert sorted(stored) == ["Default", "tiny"]
    shown = [line for line in done.stdout.splitlines() if line.startswith("runs: ")]
    assert any("--backend-store-uri postgresql://ndcl@127.0.0.1/mlflow" in line for line in shown)
    assert not any("hidden" in line or "concealed" in line for line in shown)
