"""Sweeps that are killed, interrupted and damaged in the real way, and must lose nothing."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration import sweeps

pytestmark = pytest.mark.slow


def _files(results: Path, state: str) -> dict[str, str]:
    folder = results / "tiny" / "trials"
    return {r.name: (folder / f"{r.name}.json").read_text() for r in sweeps.in_state(results, state)}


def _children(pid: int) -> list[int]:
    """All processes below `pid`."""
    found = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in found.splitlines())}
    below = [child for child, parent in parents.items() if parent == pid]
    return below + [deeper for child in below for deeper in _children(child)]


def _workers(driver: int) -> list[int]:
    """The processes that train, by the name that Ray gives them."""
    return [pid for pid in _children(driver) if "ImplicitFunc" in Path(f"/proc/{pid}/cmdline").read_text()]


def _is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_after_sigkill_of_the_driver_every_trial_runs_once(tmp_path: Path) -> None:
    path, results = sweeps.written(tmp_path), tmp_path / "results"
    before: dict[str, str] = {}
    for ended in (1, 5):
        process = sweeps.started(path, results)
        with sweeps.ended_with_test(process):
            sweeps.wait_until(lambda ended=ended: len(_files(results, "finished")) >= ended, process)
            workers = _workers(process.pid)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        assert workers
        assert _files(results, "finished").items() >= before.items()
        before = _files(results, "finished")
        deadline = time.monotonic() + 60
        while alive := [pid for pid in workers if _is_alive(pid)]:
            assert time.monotonic() < deadline, f"left behind: {alive}"
            time.sleep(0.2)

    code, output = sweeps.finished(path, results)
    assert code == 0, output
    assert "ndcl - erm" in output
    assert _files(results, "finished").items() >= before.items(), "a finished trial was touched"
    sweeps.check_complete(sweeps.planned(path, results))


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
        assert after[record.name].evaluations[: len(record.evaluations)] == record.evaluations
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
        os.kill(_workers(process.pid)[0], signal.SIGKILL)
        output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    (record,) = sweeps.records(results)
    assert (record.state, record.attempts) == ("finished", 2)
    assert [e["step"] for e in record.evaluations] == list(range(2, 17, 2))
    sweeps.check_complete(sweeps.planned(path, results))
