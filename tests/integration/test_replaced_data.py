"""The data of a sweep are replaced while it runs: it ends with what it began with, or stops; it mixes nothing."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.cli.progress import Progress
from harness.records import TrialRecord
from harness.state import StudySummary
from harness.sweep import run
from harness.sweep.run import run_sweep
from ndcl.data import Store
from ndcl.errors import ReplacedDataError
from tests.integration import sweeps
from tests.made.made_vectors import CLASSES, TARGET, write_vectors


def written(tmp_path: Path) -> Path:
    return sweeps.written(
        tmp_path,
        data={"name": "made", "targets": [TARGET], "folder": str(write_vectors(tmp_path / "data"))},
        imbalance={"setting": "natural", "validation": 2},
        algorithms={"erm": None},
        train={**sweeps.TINY["train"], "model.backbone": "linear"},
        search={"num_trials": 3, "scheduler": {"name": "none"}},
        final={"seeds": 1},
        resources={"max_concurrent": 1},
    )


def replace(tmp_path: Path) -> None:
    write_vectors(tmp_path / "data", classes=("cat", "dog", "wolf"), replace=True)


class Replacing(Progress):
    """Replaces the data when the first trial has ended."""

    def __init__(self, tmp_path: Path) -> None:
        super().__init__(Console(), quiet=True)
        self._tmp_path = tmp_path

    def ended(self, record: TrialRecord, states: Sequence[StudySummary]) -> None:
        if record.number == 0 and record.stage == "search":
            replace(self._tmp_path)


@pytest.mark.soak
def test_trials_go_on_with_what_they_have_open_or_the_sweep_stops(tmp_path: Path, local_ray_session: None) -> None:
    """Which of both depends on whether Ray gives a trial to a process that has had one before."""
    path = written(tmp_path)
    old = Store(tmp_path / "data" / "made").digest
    plan = sweeps.planned(path, tmp_path)
    with contextlib.suppress(ReplacedDataError):
        run_sweep(plan, Replacing(tmp_path))
    found = [record for record in sweeps.records(tmp_path) if record.evaluations]
    assert found
    assert {record.environment["data"]["digest"] for record in found} == {old}
    assert {tuple(record.environment["data"]["classes"]) for record in found} == {CLASSES}
    assert {record.state for record in sweeps.records(tmp_path)} <= {"finished", "interrupted"}


def test_a_sweep_whose_trials_find_other_data_stops_and_loses_nothing(
    tmp_path: Path, local_ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, prepare = written(tmp_path), run.prepare
    plan = sweeps.planned(path, tmp_path)

    def prepared(*arguments: Any) -> list[str]:
        remarks = prepare(*arguments)
        replace(tmp_path)
        return remarks

    monkeypatch.setattr(run, "prepare", prepared)
    with pytest.raises(ReplacedDataError, match="--on-new-data tiny-2"):
        run_sweep(plan, Progress(Console(), quiet=True))
    assert {record.state for record in sweeps.records(tmp_path)} == {"interrupted"}
