"""`ndcl status` beside a real sweep: while it runs, after it was killed, and when its own advice was followed."""

import os
import signal
from pathlib import Path

from typer.testing import CliRunner

from harness.cli import app
from tests.integration import sweeps


def shown(results: Path) -> str:
    result = CliRunner().invoke(app, ["status", "tiny", "--results", str(results)])
    assert result.exit_code == 0, result.output
    return str(result.output)


def test_status_of_a_sweep_that_is_killed_and_goes_on(tmp_path: Path) -> None:
    one_trial = {"data": {"name": "digits", "targets": ["scan"]}, "algorithms": {"erm": None}, "final": {"seeds": 0}}
    long = {"train": sweeps.TINY["train"] | {"num_steps": 40}, "search": {"num_trials": 1}}
    path = sweeps.written(tmp_path, **one_trial, **long)
    process = sweeps.started(path, tmp_path)
    with sweeps.ended_with_test(process):
        sweeps.wait_until(lambda: any(r.evaluations for r in sweeps.in_state(tmp_path, "running")), process)
        running = shown(tmp_path)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert "sweep tiny: running, last change" in running
    assert "/40, last change" in running
    assert f"next: ndcl report tiny --results {tmp_path}" in running

    killed = shown(tmp_path)
    advised = tmp_path / "tiny" / "sweep.yaml"
    assert "sweep tiny: not running, last change" in killed
    assert "interrupted: erm.digits.long_tail-20.scan.search-000, step" in killed
    assert f"next: ndcl sweep {advised} --results {tmp_path}" in killed
    code, output = sweeps.finished(advised, tmp_path)
    assert code == 0, output
    assert "sweep tiny: done, last change" in shown(tmp_path)
    sweeps.check_complete(sweeps.planned(path, tmp_path))
