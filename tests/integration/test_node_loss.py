"""A node of the cluster dies while trials run on it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration import sweeps


@pytest.mark.slow
def test_trials_of_a_node_that_died_go_on_elsewhere(tmp_path: Path) -> None:
    changes = {
        "data": {"name": "digits", "targets": ["scan"]},
        "algorithms": {"erm": None},
        "train": {**sweeps.TINY["train"], "num_steps": 40},
        "search": {"num_trials": 3, "scheduler": {"name": "none"}},
        "final": {"seeds": 1},
    }
    path = sweeps.written(tmp_path, **changes)
    program = [sys.executable, "-m", "tests.integration.cluster_of_nodes", str(path), str(tmp_path)]
    result = subprocess.run(program, cwd=sweeps.ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    sweeps.check_complete(sweeps.planned(path, tmp_path))
    found = sweeps.records(tmp_path)
    assert {record.state for record in found} == {"finished"}
    assert [record.attempts for record in found if record.attempts > 1] == [2], "one node, one trial"
    assert all([e["step"] for e in record.evaluations] == list(range(2, 41, 2)) for record in found)
