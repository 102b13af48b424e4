"""A sweep that is interrupted in either way, and one of whose training processes is killed, and that loses nothing."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from harness.records import TrialRecord
from tests.integration import processes, sweeps

pytestmark = pytest.mark.soak

CHANGES = {
    "data": {"name": "digits", "targets": ["scan"]},
    "algorithms": {"erm": None},
    "train": {**sweeps.TINY["train"], "num_steps": 16},
    "search": {"num_trials": 4, "scheduler": {"name": "none"}},
}


def under_way(process: "subprocess.Popen[str]", results: Path) -> None:
    """Wait until a trial has come further than it was before, and can be resumed."""
    before = {record.name: record.step for record in sweeps.records(results)}

    def has_advanced() -> bool:
        running = sweeps.in_state(results, "running")
        return any(r.checkpoint and r.step > before.get(r.name, 0) for r in running)

    sweeps.wait_until(has_advanced, process)


def interrupted(path: Path, results: Path, number: signal.Signals) -> list[TrialRecord]:
    """Start the sweep and end it by a signal: the trials that are to continue."""
    process = sweeps.started(path, results)
    with sweeps.ended_with_test(process):
        under_way(process, results)
        process.send_signal(number)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "the same command resumes" in output
    assert "Traceback" not in output
    assert not sweeps.in_state(results, "running")
    found = sweeps.in_state(results, "interrupted")
    assert any(record.checkpoint for record in found)
    return found


def check_gone_on(before: list[TrialRecord], results: Path) -> None:
    after = {record.name: record for record in sweeps.records(results)}
    for record in before:
        assert after[record.name].values == record.values
        assert sweeps.past(after[record.name])[: len(record.evaluations)] == sweeps.past(record)


def test_interrupts_and_a_killed_process_lose_nothing(tmp_path: Path) -> None:
    path, results = sweeps.written(tmp_path, **CHANGES), tmp_path / "results"
    first = interrupted(path, results, signal.SIGINT)
    second = interrupted(path, results, signal.SIGTERM)
    check_gone_on(first, results)
    process = sweeps.started(path, results)
    with sweeps.ended_with_test(process):
        under_way(process, results)
        os.kill(processes.workers(process.pid)[0], signal.SIGKILL)
        output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    check_gone_on(second, results)
    again = {record.name for record in (*first, *second)}
    ended = {record.name: record for record in sweeps.records(results)}
    for record in ended.values():
        steps = list(range(2, 17, 2)) if record.is_training else [16]  # an ensemble is evaluated once
        assert [e["step"] for e in record.evaluations] == steps
    assert {record.state for record in ended.values()} == {"finished"}
    assert all(ended[name].attempts > 1 for name in again)
    attempts = sum(record.attempts - 1 for record in ended.values())
    assert attempts == len(first) + len(second) + 1, "the killed process's trial was started once more"
    sweeps.check_complete(sweeps.planned(path, results))
