"""Trials that can't succeed: recorded with their reason, while everything else continues."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from harness.cli import app
from harness.cli.progress import Progress
from harness.records import ENDED
from harness.sweep.run import MAX_FAULTS, run_sweep
from tests.integration import processes, sweeps

BEYOND_NUMPY, BEYOND_TORCH = 2**57, 2**40
"""A batch size and a layer's width that need more bytes than a process can address, on any machine."""


def choices(*values: Any) -> dict[str, Any]:
    return {"type": "choice", "choices": list(values)}


def test_what_can_not_be_allocated_fails_alone(tmp_path: Path, local_ray_session: None) -> None:
    algorithms = {
        "some": {"algorithm": "erm", "space": {"batch_size": choices(4, BEYOND_NUMPY, 5)}},
        "all": {
            "algorithm": "erm",
            "train": {"batch_size": 4, "model.backbone": "mlp"},
            "space": {"model.mlp_width": choices(BEYOND_TORCH, BEYOND_TORCH + 1, BEYOND_TORCH + 2, BEYOND_TORCH + 3)},
        },
    }
    changes = {
        "data": {"name": "digits", "targets": ["scan"]},
        "algorithms": algorithms,
        "train": {"num_steps": 4, "evaluate_every": 2},
        "space": {},
        "search": {"sampler": "grid", "scheduler": {"name": "none"}},
        "final": {"seeds": 1},
    }
    path = sweeps.written(tmp_path, **changes)
    result = CliRunner().invoke(app, ["sweep", str(path), "--results", str(tmp_path)])
    assert result.exit_code == 1, result.output
    of: dict[str, list[Any]] = {"some": [], "all": []}
    for record in sweeps.records(tmp_path):
        of[record.study.algorithm].append(record)

    failed = [record for record in of["some"] if record.state == "failed"]
    assert [record.values["batch_size"] for record in failed] == [BEYOND_NUMPY]
    assert "MemoryError: Unable to allocate" in failed[0].reason
    assert failed[0].log.startswith("Traceback")
    assert f"    {failed[0].log.splitlines()[-1]}" in result.output
    assert sorted((r.stage, r.state) for r in of["some"] if r.state != "failed") == [
        ("final", "finished"),
        ("search", "finished"),
        ("search", "finished"),
    ]
    # With two at a time the fourth may have been started before the third has failed.
    assert len(of["all"]) in (3, 4)
    assert {record.state for record in of["all"]} == {"failed"}
    assert all("RuntimeError" in record.reason and "memory" in record.reason for record in of["all"])
    assert "trials failed; the last one: RuntimeError" in " ".join(result.output.split())


@pytest.mark.soak
def test_a_process_that_dies_again_and_again_fails_its_trial_only(tmp_path: Path, local_ray_session: None) -> None:
    changes = {
        "data": {"name": "digits", "targets": ["scan"]},
        "algorithms": {"erm": None},
        "train": {**sweeps.TINY["train"], "num_steps": 20},
        "search": {"num_trials": 2, "scheduler": {"name": "none"}},
        "final": {"seeds": 0},
        "resources": {"max_concurrent": 1},
    }
    plan = sweeps.planned(sweeps.written(tmp_path, **changes), tmp_path)
    killed, is_over = set[int](), threading.Event()

    def kill_all_of_the_first() -> None:
        while not is_over.wait(0.1):
            first = [record for record in sweeps.records(tmp_path) if record.number == 0]
            if first and first[0].state in ENDED:
                return
            if first and first[0].evaluations:
                for pid in set(processes.workers(os.getpid())) - killed:
                    killed.add(pid)
                    os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_all_of_the_first)
    killer.start()
    try:
        result = run_sweep(plan, Progress(Console(), quiet=True))
    finally:
        is_over.set()
        killer.join()
    first, second = result.records
    assert len(killed) == MAX_FAULTS + 1
    assert (first.state, first.attempts) == ("failed", MAX_FAULTS + 1)
    assert f"its process was lost {MAX_FAULTS + 1} times" in (first.reason or "")
    assert "The actor died unexpectedly" in (first.reason or "")
    assert first.log.count("Worker exit detail") == MAX_FAULTS + 1, "what Ray says of each"
    assert (second.state, second.attempts) == ("finished", 1)
    sweeps.check_complete(plan)
