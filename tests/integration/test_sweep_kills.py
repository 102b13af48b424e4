"""One sweep whose driver is killed with SIGKILL again and again, at moments drawn at random, and loses nothing."""

import glob
import json
import os
import random
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.cluster.local_ray import cluster_address
from harness.records import ENDED, TrialRecord
from harness.storage import CheckpointFolders
from harness.storage.checkpoints import EVALUATION_FILE
from tests.integration import processes, sweeps

pytestmark = pytest.mark.soak

TRAIN = {"num_steps": 6, "evaluate_every": 1, "batch_size": 4}
RATE = {"optimizer.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True, "default": 1e-3}}
RATIO = {"resampling_ratio": {"type": "choice", "choices": [None, 1, 10], "default": None}}
PRUNED: dict[str, Any] = {"num_trials": 8, "scheduler": {"name": "asha", "min_resource": 2, "reduction_factor": 2}}
PROMOTED: dict[str, Any] = {
    "num_trials": 6,
    "scheduler": {"name": "asha", "mode": "promote", "min_resource": 2, "reduction_factor": 2},
}
POPULATION: dict[str, Any] = {"num_trials": 4, "scheduler": {"name": "pbt", "perturbation_interval": 2}}
MOST_CHANGES = 9
"""A kill comes after at most so many changes of the journal since the start."""
LONGEST_START_SECONDS = 5.0
"""A kill that waits for no change comes so soon after the start, which takes about as long."""
MAX_CHECKPOINTS = 2


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What lies on the disk of a sweep that has been killed."""

    records: dict[str, TrialRecord]
    ended: dict[str, bytes]
    """The files of ended trials."""
    resumable: dict[str, int]
    """The step from which each unfinished trial can continue."""


def step_of(checkpoint: str | None) -> int:
    return int(json.loads((Path(checkpoint) / EVALUATION_FILE).read_text())["step"]) if checkpoint else 0


def snapshot(results: Path) -> Snapshot:
    found = sweeps.records(results)
    folders = CheckpointFolders(results / "tiny" / "ray")
    newest = {r.name: folders.newest(r.name) for r in found if r.state not in ENDED}
    return Snapshot(
        records={record.name: record for record in found},
        ended={
            r.name: (results / "tiny" / "trials" / f"{r.name}.json").read_bytes() for r in found if r.state in ENDED
        },
        resumable={name: step_of(folder) for name, folder in newest.items()},
    )


def check_kept(before: Snapshot, after: Snapshot) -> None:
    """Nothing that was there at a kill was lost or done again, but for what a checkpoint does not hold."""
    assert after.ended.items() >= before.ended.items(), "a trial that had ended was touched"
    for name, step in before.resumable.items():
        record, later = before.records[name], after.records[name]
        assert record.step - step <= TRAIN["evaluate_every"], f"{name}: more than one interval lost"
        assert later.attempts >= record.attempts
        if later.schedule == record.schedule:  # or else it has taken over another one's past
            held = [e for e in sweeps.past(record) if e["step"] <= step]
            assert sweeps.past(later)[: len(held)] == held, "with its seconds, so it was not trained again"


def check_disk(results: Path) -> None:
    """While a sweep runs, a trial holds two checkpoints at most: the newest, and the one that it replaces."""
    # glob passes over a folder that goes meanwhile; a path's own fails
    there = map(Path, glob.glob(str(results / "tiny" / "ray" / "run-*" / "*" / "checkpoint_*")))
    found = Counter(path.parent.name.split(".from-")[0] for path in there)
    assert not found or max(found.values()) <= MAX_CHECKPOINTS, found


def wait_for_changes(process: Any, results: Path, number: int) -> None:
    """Wait until the journal has changed so often."""
    folder, seen = results / "tiny" / "trials", set[tuple[str, int]]()

    def changed() -> bool:
        check_disk(results)
        for path in folder.glob("*.json"):
            seen.add((path.name, path.stat().st_mtime_ns))
        return len(seen) >= number

    number += len(list(folder.glob("*.json")))
    sweeps.wait_until(changed, process)


def run_until_killed(path: Path, results: Path, draw: random.Random, *options: str) -> list[int]:
    """Start the sweep, kill its driver at a moment drawn at random, and return the processes that trained."""
    process = sweeps.started(path, results, *options)
    with sweeps.ended_with_test(process):
        changes = draw.choice((0, *range(MOST_CHANGES)))  # during the start twice as often as after any change
        if changes:
            wait_for_changes(process, results, changes)
            time.sleep(draw.uniform(0, 0.1))
        else:
            time.sleep(draw.uniform(0, LONGEST_START_SECONDS))
        trained = processes.workers(os.getpid() if options else process.pid)
        assert process.poll() is None, "it ended before it could be killed"
        processes.kill(process)
    return trained


@pytest.mark.parametrize(
    ("search", "num_kills"), [(PRUNED, 10), (POPULATION, 4), (PROMOTED, 6)], ids=["asha", "pbt", "promote"]
)
def test_a_sweep_killed_at_random_moments_loses_nothing(
    tmp_path: Path, search: Any, num_kills: int, local_ray_session: None
) -> None:
    """On a Ray that outlives the sweep and has to notice, but for every third start, whose Ray dies with it."""
    changes = {
        "data": {"name": "digits", "targets": ["scan"]},
        "algorithms": {"erm": None},
        "train": TRAIN,
        "space": RATE | RATIO,
        "search": search,
    }
    path, results = sweeps.written(tmp_path, **changes), tmp_path / "results"
    draw, before, trained = random.Random(num_kills), snapshot(results), []
    outliving = ("--address", cluster_address())
    for number in range(num_kills):
        trained += run_until_killed(path, results, draw, *(outliving if number % 3 else ()))
        check_disk(results)
        after = snapshot(results)
        check_kept(before, after)
        before = after

    code, output = sweeps.finished(path, results, *outliving)
    assert code == 0, output
    check_kept(before, snapshot(results))
    sweeps.check_complete(sweeps.planned(path, results))
    assert sum(record.attempts > 1 for record in sweeps.records(results)) > 1, "the kills disturbed nothing"
    processes.wait_for_end(trained)
