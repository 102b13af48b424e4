"""A node of the cluster dies, or is given notice, while trials run on it."""

import os
import subprocess
import sys
from pathlib import Path

from harness.cluster.notice import MARK
from harness.records.record import TrialRecord
from tests.integration import sweeps
from tests.servers.metadata_server import metadata_server


def swept(folder: Path, what: str, num_steps: int, evaluate_every: int) -> list[TrialRecord]:
    """The records of a sweep of two trials on two nodes, one of which is `killed` or `noticed`."""
    changes = {
        "data": {"name": "digits", "targets": ["scan"]},
        "algorithms": {"erm": None},
        "train": {**sweeps.TINY["train"], "num_steps": num_steps, "evaluate_every": evaluate_every},
        "search": {"num_trials": 2, "scheduler": {"name": "none"}},
        "final": {"seeds": 0},
    }
    path = sweeps.written(folder, **changes)
    program = [sys.executable, "-m", "tests.integration.cluster_of_nodes", str(path), str(folder), what]
    result = subprocess.run(program, cwd=sweeps.ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    sweeps.check_complete(sweeps.planned(path, folder))
    found = sweeps.records(folder)
    assert {record.state for record in found} == {"finished"}
    assert [record.attempts for record in found if record.attempts > 1] == [2], "one node, one trial"
    steps = list(range(evaluate_every, num_steps + 1, evaluate_every))
    assert all([e["step"] for e in record.evaluations] == steps for record in found)
    return found


def test_trials_of_a_node_that_died_go_on_elsewhere(tmp_path: Path) -> None:
    swept(tmp_path, "killed", 60, 2)


def test_a_trial_is_given_back_at_its_nodes_notice_and_counts_no_failure(tmp_path: Path) -> None:
    swept(tmp_path, "noticed", 600, 100)
    [error] = tmp_path.rglob("error.txt")  # Tune's, of the trial that was given back
    assert "Failure # 0 " in error.read_text()
    assert "is to be taken away; stopped after step" in error.read_text()


def test_the_guard_drains_its_node_at_the_notice(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    # What a Ray of this process has set asks for a token, which lies in the home that isn't this one.
    environment = {**kept, "HOME": str(tmp_path), MARK: str(tmp_path / "notice")}
    with metadata_server() as server:
        server.texts["/computeMetadata/v1/instance/preempted"] = "TRUE"
        program = [sys.executable, "-m", "tests.integration.noticed_node", server.url]
        result = subprocess.run(
            program, cwd=sweeps.ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "nothing new is placed" in result.stdout
    assert "Google Cloud: preempted: the trials are given back" in result.stdout
