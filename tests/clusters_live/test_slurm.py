"""clusters/slurm.sbatch on real Slurm: two nodes on this machine, each with processes and its own network."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.records import Journal, TrialRecord
from harness.storage.checkpoints import TRAINING
from tests.clusters_live.went_on import check_went_on
from tests.integration import sweeps

NEEDED = ("slurmctld", "slurmd", "munged", "sbatch", "unshare", "ip")
MISSING = [program for program in NEEDED if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None]
SECONDS = 720

pytestmark = [
    pytest.mark.soak,
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


ENVIRONMENT = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}


def whole(state: Path, command: list[str]) -> list[str]:
    """The command as it runs where one would submit."""
    script = sweeps.ROOT / "tests" / "clusters_live" / "slurm_nodes.sh"
    return ["timeout", "--kill-after=5", str(SECONDS), "bash", str(script), str(state), *command]


def in_slurm(checkout: Path, state: Path, command: list[str]) -> "subprocess.CompletedProcess[str]":
    """Run a command where one would submit."""
    options = {"cwd": checkout, "env": ENVIRONMENT, "capture_output": True, "text": True, "check": False}
    return subprocess.run(whole(state, command), **options)


def submitted(checkout: Path, state: Path, *arguments: str) -> str:
    """Run the script as a job of two nodes to its end; what it has printed, and if it failed, what Slurm's logs say."""
    sbatch = ["sbatch", "--wait", "--cpus-per-task=2", "--gpus-per-task=0", "--output=job.log", "clusters/slurm.sbatch"]
    done = in_slurm(checkout, state, [*sbatch, *arguments])
    log = checkout / "job.log"
    printed = done.stdout + done.stderr + (log.read_text() if log.is_file() else "")
    assert done.returncode == 0, printed + logs(state)
    return printed


def logs(state: Path) -> str:
    """Of Slurm's daemons."""
    return "".join(path.read_text() for path in sorted(state.glob("*.log")))


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


NOTICED = """
set -euo pipefail
id=$(sbatch --parsable --cpus-per-task=2 --gpus-per-task=0 --output=job.log clusters/slurm.sbatch "$@")
state() { squeue --noheader --jobs="$id" --format=%T; }
until [ -e train ] || [ -z "$(state)" ]; do sleep 0.2; done
scancel --batch --signal=USR1 "$id"  # as Slurm itself does by --signal=B:USR1
until [ "$(state)" = PENDING ]; do sleep 0.5; done
touch queued  # for two minutes: Slurm leaves a job that is queued again that long
until [ -z "$(state)" ]; do sleep 0.5; done
"""


def running(checkout: Path) -> list[TrialRecord]:
    found = Journal(checkout / "results" / "tiny").read() if (checkout / "results" / "tiny").is_dir() else []
    return [record for record in found if record.checkpoint is not None and record.state == "running"]


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    while not condition():
        assert process.poll() is None, f"the job ended early: {process.communicate()[0]}"
        time.sleep(0.1)


def test_at_its_notice_a_job_checkpoints_its_trials_and_continues_when_it_is_started_again(
    checkout: Path, state: Path
) -> None:
    sweep = sweeps.written(
        checkout,
        algorithms={"erm": None},
        data={"name": "digits", "targets": ["scan"]},
        train={**sweeps.TINY["train"], "num_steps": 800, "evaluate_every": 200},
        search={"num_trials": 2, "scheduler": {"name": "none"}},
        final={"seeds": 0},
    )
    command = ["bash", "-c", NOTICED, "job", str(sweep), "--set", "resources.cpus_per_trial=2"]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(whole(state, command), cwd=checkout, env=ENVIRONMENT, **output) as job:
        try:
            wait_for(lambda: len(running(checkout)) == 2, job)
            noticed = {record.name: record for record in running(checkout)}
            (checkout / "train").touch()
            wait_for((checkout / "queued").exists, job)
            queued = Journal(checkout / "results" / "tiny").read()
            assert [record.state for record in queued] == ["interrupted"] * 2
            assert all(step_of(record) % 200 for record in queued), "they stopped at an evaluation"
            printed, _ = job.communicate()
        finally:
            job.terminate()
    printed += (checkout / "job.log").read_text() + logs(state)
    assert job.returncode == 0, printed
    assert printed.count("Slurm ends this job: the trials write their checkpoints") == 1
    assert printed.count("ndcl: stopped; the same command resumes where it was") == 1
    for record in Journal(checkout / "results" / "tiny").read():
        assert record.state == "finished", printed
        check_went_on(noticed[record.name], record)
    assert list(checkout.glob(".ray_token_*")) + list(checkout.glob(".ndcl_notice_*")) == []


def step_of(record: TrialRecord) -> int:
    """Of the record's checkpoint."""
    assert record.checkpoint is not None
    return int(json.loads((Path(record.checkpoint) / TRAINING / "checkpoint.json").read_text())["step"])


def test_check_asks_the_controller_and_submits_nothing(checkout: Path, state: Path) -> None:
    """The script as it is wants a GPU and eight processors of each node, and these have two."""
    text = (sweeps.ROOT / "clusters" / "slurm.sbatch").read_text()
    fitting = text.replace("--cpus-per-task=8", "--cpus-per-task=2").replace("#SBATCH --gpus-per-task=1\n", "")
    (checkout / "fitting.sbatch").write_text(fitting)
    check = f"{sys.executable} -m harness.cli cluster check"
    both = f"{check} fitting.sbatch; {check} clusters/slurm.sbatch; echo code $?; squeue --noheader | wc -l"
    printed = in_slurm(checkout, state, ["bash", "-c", both]).stdout
    assert "fitting.sbatch: nothing is wrong that file and account tell" in printed, printed
    assert "clusters/slurm.sbatch: sbatch: Invalid generic resource" in printed
    assert "code 2\n0\n" in printed
