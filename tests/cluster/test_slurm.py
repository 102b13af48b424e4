"""clusters/slurm.sbatch on real Slurm: two nodes on this machine, each with processes and a network of its own."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.records import Journal
from tests.integration import sweeps

NEEDED = ("slurmctld", "slurmd", "munged", "sbatch", "unshare", "ip")
MISSING = [program for program in NEEDED if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None]
SECONDS = 480

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"apt-get install slurm-wlm munge: there is no {', '.join(MISSING)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: namespaces, and Slurm's daemons"),
]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with its environment, on a disk that the nodes share."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("harness", "ndcl", "clusters"):
        (folder / name).symlink_to(sweeps.ROOT / name)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.fixture
def state() -> Iterator[Path]:
    """A folder for Slurm's own files with a short name: those of its sockets must not exceed 107 characters."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as name:
        yield Path(name)


def submitted(checkout: Path, state: Path, *arguments: str) -> str:
    """Run the script as a job of two nodes to its end; what it has printed, and if it failed, what Slurm's logs say."""
    script = sweeps.ROOT / "tests" / "cluster" / "slurm_nodes.sh"
    sbatch = ["sbatch", "--wait", "--cpus-per-task=2", "--gpus-per-task=0", "--output=job.log", "clusters/slurm.sbatch"]
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    command = ["timeout", "--kill-after=5", str(SECONDS), "bash", script, state, *sbatch, *arguments]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    log = checkout / "job.log"
    printed = done.stdout + done.stderr + (log.read_text() if log.is_file() else "")
    logs = "".join(path.read_text() for path in sorted(state.glob("*.log")))
    assert done.returncode == 0, printed + logs
    return printed


def test_a_sweep_runs_on_all_nodes_of_a_job_and_leaves_nothing(checkout: Path, state: Path) -> None:
    one = {"algorithms": {"erm": None}, "data": {"name": "digits", "targets": ["scan"]}}
    sweep = sweeps.written(checkout, **one, search={"num_trials": 2}, final={"seeds": 1})
    printed = submitted(checkout, state, str(sweep), "--set", "resources.cpus_per_trial=2")
    assert "On worker node. Connecting to Ray cluster at node1:" in printed
    records = Journal(checkout / "results" / "tiny").read()
    assert len(records) == 3
    assert {record.state for record in records} <= {"finished", "pruned"}
    assert (checkout / "results" / "tiny" / "report.html").is_file()
    assert list(checkout.glob(".ray_token_*")) == []
