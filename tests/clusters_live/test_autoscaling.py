"""Trials that wait bring nodes up, and idle nodes go; with Ray's autoscaler, on nodes that are processes."""

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ray.autoscaler._private import fake_multi_node

from tests.clusters_live.machines import ROOT, missing
from tests.integration import sweeps

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]
ALONE = """
set -e
ip link set lo up
mount -t tmpfs tmpfs /dev/shm
mkdir -p /tmp/ray "$1"/up "$1"/work
mount -t tmpfs tmpfs /tmp/ray
mount -t overlay overlay -o lowerdir="$2",upperdir="$1"/up,workdir="$1"/work "$2"
shift 2
exec "$@"
"""
"""In namespaces of its own: Ray's folders, and those of its package that a file is put into, are nobody else's."""
SWEEP: dict[str, Any] = {
    "data": {"name": "digits", "targets": ["scan"]},
    "algorithms": {"erm": None},
    "train": {"num_steps": 300, "evaluate_every": 50, "batch_size": 4},
    "search": {"num_trials": 4, "scheduler": {"name": "none"}},
    "final": {"seeds": 0},
}


def run_alone(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "home").mkdir()
    environment = {
        **os.environ,
        "HOME": str(folder / "home"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",  # as on a cluster; a Ray that this process has started would set it, without a token
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    spaces = ["unshare", "-n", "-m", "-p", "-i", "-f", "--mount-proc", "--kill-child"]
    package = str(Path(fake_multi_node.__file__).parent)
    command = [*spaces, "bash", "-c", ALONE, "_", str(folder / "overlay"), package, sys.executable, *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)


def test_a_sweep_brings_nodes_up_and_idle_ones_go(tmp_path: Path) -> None:
    """Negative control: the same sweep brings up one node where no more than one of its trials waits at a time."""
    path, results = sweeps.written(tmp_path, **SWEEP), tmp_path / "results"
    done = run_alone(tmp_path, "-m", "tests.clusters_live.autoscaled_sweep", str(path), str(results))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    control, seen = json.loads(done.stdout.splitlines()[-1])
    assert (control[0], max(control), control[-1]) == (1, 2, 1), control
    assert (seen[0], max(seen), seen[-1]) == (1, 3, 1), seen
    sweeps.check_complete(sweeps.planned(path, results))
    assert {record.state for record in sweeps.records(results)} == {"finished"}


def test_a_trial_of_two_workers_brings_two_nodes_up_from_none(tmp_path: Path) -> None:
    """Each node has room for one worker; while none is there the trial waits longer than Ray Train's own start."""
    changes = SWEEP | {
        "search": {"num_trials": 1, "scheduler": {"name": "none"}},
        "resources": {"workers_per_trial": 2},
    }
    path, results = sweeps.written(tmp_path, **changes), tmp_path / "results"
    done = run_alone(tmp_path, "-m", "tests.clusters_live.autoscaled_sweep", str(path), str(results), "once")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    [seen] = json.loads(done.stdout.splitlines()[-1])
    assert (seen[0], max(seen), seen[-1]) == (1, 3, 1), seen
    [record] = sweeps.records(results)
    assert (record.state, record.attempts) == ("finished", 1)
    logs = {path.name: path.read_text() for path in results.rglob("logs/rank-*.log")}
    assert sorted(logs) == ["rank-0.log", "rank-1.log"]
    assert all(" of 2 begins on " in text for text in logs.values())
