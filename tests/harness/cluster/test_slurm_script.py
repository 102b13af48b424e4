"""clusters/slurm.sbatch between the programs of Slurm, of which stand-ins say what they were asked."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cluster.files import read_cluster
from tests.harness.cluster.made_clusters import ROOT

SCRIPT = ROOT / "clusters" / "slurm.sbatch"
SRUN = """#!/bin/bash
[ -e "$NDCL_NOTICE_FILE" ] && exit 99
touch started
until [ -e "$NDCL_NOTICE_FILE" ] || [ -e over ]; do sleep 0.05; done
echo "srun ends" >> calls
exit $(cat code)
"""
SCONTROL = """#!/bin/bash
[ "$1" = show ] && echo node1 || echo "scontrol $*" >> calls
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout whose environment has the stand-ins; `srun` ends with what `code` says, at the notice or if `over`."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(sys.executable)
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return tmp_path


def started(folder: Path, code: int) -> "subprocess.Popen[str]":
    (folder / "code").write_text(str(code))
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node1", "SLURM_NNODES": "1", "SLURM_CPUS_PER_TASK": "2"}
    return subprocess.Popen(
        ["bash", str(SCRIPT), "sweep.yaml"],
        cwd=folder,
        env={**os.environ, **job},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def ended(folder: Path, job: "subprocess.Popen[str]", change: Callable[[], object]) -> tuple[int, list[str], str]:
    """Make the change once the sweep has started: exit code, what the programs were asked, and what is printed."""
    try:
        deadline = time.monotonic() + 30
        while not (folder / "started").exists():
            assert time.monotonic() < deadline, "the sweep was not started"
            time.sleep(0.05)
        change()
        printed, _ = job.communicate(timeout=30)
    finally:
        job.kill()
    assert list(folder.glob(".ndcl_notice_*")) + list(folder.glob(".ray_token_*")) == []
    calls = folder / "calls"
    return job.returncode, calls.read_text().splitlines() if calls.exists() else [], printed


def test_slurm_is_asked_for_a_notice_and_to_queue_a_job_again() -> None:
    options = read_cluster(SCRIPT).values
    assert options["signal"] == "B:USR1@120"  # to the batch shell, seconds before the end
    assert "requeue" in options
    assert options["open-mode"] == "append"


def test_at_the_notice_the_trials_get_their_mark_and_the_job_goes_back_into_the_queue(folder: Path) -> None:
    job = started(folder, 130)
    code, calls, printed = ended(folder, job, lambda: job.send_signal(signal.SIGUSR1))
    assert calls == ["srun ends", "scontrol requeue 7"]
    assert code == 130
    assert "Slurm ends this job: the trials write their checkpoints" in printed
    assert "the job goes back into the queue" in printed


def test_a_sweep_that_ends_at_the_notice_is_not_queued_again(folder: Path) -> None:
    job = started(folder, 0)
    assert ended(folder, job, lambda: job.send_signal(signal.SIGUSR1))[:2] == (0, ["srun ends"])


@pytest.mark.parametrize("code", [0, 2])
def test_without_a_notice_the_job_ends_as_its_sweep_does(folder: Path, code: int) -> None:
    assert ended(folder, started(folder, code), (folder / "over").touch)[:2] == (code, ["srun ends"])


def test_the_mark_of_an_earlier_start_of_the_job_is_void(folder: Path) -> None:
    (folder / ".ndcl_notice_7").write_text("of the start before")
    assert ended(folder, started(folder, 0), (folder / "over").touch)[0] == 0
