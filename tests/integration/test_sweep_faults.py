"""Sweeps that are killed, interrupted and damaged in the real way, and must lose nothing."""

import os
import signal
from pathlib import Path

import pytest

from tests.integration import processes, sweeps

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_says_so_and_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    changes = {"data": {"name": "digits", "targets": ["scan"]}, "train": {**sweeps.TINY["train"], "num_steps": 12}}
    path, results = sweeps.written(tmp_path, **changes), tmp_path / "results"
    process = sweeps.started(path, results)
    with sweeps.ended_with_test(process):
        sweeps.wait_until(lambda: any(r.checkpoint for r in sweeps.in_state(results, "running")), process)
        process.send_signal(number)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "the same command goes on" in output
    assert "Traceback" not in output
    assert not sweeps.in_state(results, "running")
    interrupted = sweeps.in_state(results, "interrupted")
    assert any(record.checkpoint for record in interrupted)

    code, output = sweeps.finished(path, results)
    assert code == 0, output
    after = {record.name: record for record in sweeps.records(results)}
    for record in interrupted:
        assert after[record.name].values == record.values
        assert after[record.name].attempts == 2
        assert sweeps.past(after[record.name])[: len(record.evaluations)] == sweeps.past(record)
    sweeps.check_complete(sweeps.planned(path, results))


def test_a_killed_trial_process_goes_on_in_the_same_trial(tmp_path: Path) -> None:
    changes = {
        "data": {"name": "digits", "targets": ["scan"]},
        "algorithms": {"erm": None},
        "train": {**sweeps.TINY["train"], "num_steps": 16},
        "search": {"num_trials": 1, "scheduler": {"name": "none"}},
        "final": {"seeds": 0},
    }
    path, results = sweeps.written(tmp_path, **changes), tmp_path / "results"
    process = sweeps.started(path, results)
    with sweeps.ended_with_test(process):
        sweeps.wait_until(lambda: any(r.checkpoint for r in sweeps.in_state(results, "running")), process)
        os.kill(processes.workers(process.pid)[0], signal.SIGKILL)
        output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    (record,) = sweeps.records(results)
    assert (record.state, record.attempts) == ("finished", 2)
    assert [e["step"] for e in record.evaluations] == list(range(2, 17, 2))
    sweeps.check_complete(sweeps.planned(path, results))
