"""The machine that runs a sweep is lost with its disk; another resumes from what lies in an object store."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from harness.cli.progress import Progress
from harness.records import ENDED, Journal
from harness.storage import Storage
from harness.storage.lease import leased
from harness.sweep.run import run_sweep
from ndcl.errors import UserError
from tests.integration import processes, sweeps
from tests.servers.object_stores import served_s3

CHANGES = {
    "data": {"name": "digits", "targets": ["scan"]},
    "algorithms": {"erm": None},
    "train": {**sweeps.TINY["train"], "num_steps": 12},
    "search": {"num_trials": 3, "scheduler": {"name": "asha", "min_resource": 1, "reduction_factor": 2}},
    "resources": {"max_concurrent": 1},
    "final": {"seeds": 1},
}


@pytest.fixture
def bucket() -> Iterator[str]:
    with served_s3() as uri:
        yield uri


@pytest.mark.soak
def test_another_machine_goes_on_with_the_same_trials_and_study(tmp_path: Path, bucket: str) -> None:
    path, lost, results = sweeps.written(tmp_path, **CHANGES), tmp_path / "lost", tmp_path / "results"

    def has_one_ended_and_one_under_way() -> bool:
        found = sweeps.records(lost)
        return any(r.state in ENDED for r in found) and any(r.state == "running" and r.checkpoint for r in found)

    process = sweeps.started(path, lost, "--storage", bucket)
    with sweeps.ended_with_test(process):
        sweeps.wait_until(has_one_ended_and_one_under_way, process)
        processes.kill(process)
    before = {record.name: record for record in sweeps.records(lost)}

    code, output = sweeps.finished(path, results, "--storage", bucket)
    assert code == 0, output
    assert "waiting 30 s to see whether it still is" in output
    plan, after = sweeps.planned(path, results), {record.name: record for record in sweeps.records(results)}
    sweeps.check_records(plan, list(after.values()))
    sweeps.check_optuna(plan, list(after.values()))
    sweeps.check_mlflow(plan, list(after.values()))
    assert all(after[name] == record for name, record in before.items() if record.state in ENDED)
    [under_way] = [record for record in before.values() if record.state == "running"]
    again = after[under_way.name]
    assert (again.values, again.attempts) == (under_way.values, 2)
    assert sweeps.past(again)[: len(under_way.evaluations)] == sweeps.past(under_way), "it began anew"

    kept = {r.name: r.checkpoint for r in after.values() if r.state == "finished"}
    stored = Storage(bucket, "tiny").checkpoints()
    assert {name: stored.newest(name) for name in after} == {name: kept.get(name) for name in after}
    code, output = sweeps.ran("export", "tiny", "--results", str(results), "--to", str(tmp_path / "models"))
    assert code == 0, output
    assert (tmp_path / "models" / "erm.digits.long_tail-20.scan").is_dir()


def test_two_machines_do_not_run_the_same_sweep(tmp_path: Path) -> None:
    path, shared = sweeps.written(tmp_path, **CHANGES), str(tmp_path / "shared")
    with leased(Storage(shared, "tiny"), tmp_path, print):
        code, output = sweeps.finished(path, tmp_path / "second", "--storage", shared)
    assert code == 2
    assert output.splitlines()[-1].startswith(f"ndcl: error: sweep 'tiny' in {shared} is being run by another process")
    assert not list((tmp_path / "shared").glob("tiny/*"))


def test_a_sweep_that_is_taken_over_stops_with_one_line(tmp_path: Path, local_ray_session: None) -> None:
    long = {"train": {**CHANGES["train"], "num_steps": 100_000}, "search": sweeps.TINY["search"] | {"num_trials": 1}}
    plan = sweeps.planned(sweeps.written(tmp_path, **CHANGES | long), tmp_path / "results")
    has_stopped, found = threading.Event(), []
    for name in ("before", "after"):
        (tmp_path / name).mkdir()

    def take_over() -> None:
        while not any(record.checkpoint for record in sweeps.records(plan.results)):
            time.sleep(0.1)
        storage = Storage(str(tmp_path / "shared"), "tiny")
        with leased(storage, tmp_path, print, take_over=True):
            found.append(storage.fetch(tmp_path / "before"))
            has_stopped.wait()
            found.append(storage.fetch(tmp_path / "after"))

    other = threading.Thread(target=take_over, daemon=True)
    other.start()
    with pytest.raises(UserError, match="has been taken over by another process"):
        run_sweep(plan, Progress(Console(), quiet=True), storage=Storage(str(tmp_path / "shared"), "tiny"))
    has_stopped.set()
    other.join()
    assert found == [True, True]
    before, after = (Journal(tmp_path / name).read() for name in ("before", "after"))
    assert before == after, "it continued writing after it had been taken over"
    assert before[0].checkpoint is not None
    assert Path(before[0].checkpoint).is_dir()
