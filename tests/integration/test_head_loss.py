"""The machine that runs a sweep is lost with its disk; another goes on from what lies in an object store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.records import ENDED
from harness.storage import Storage
from tests.integration import processes, sweeps
from tests.s3 import served_bucket

pytestmark = pytest.mark.slow
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
    with served_bucket() as uri:
        yield uri


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
