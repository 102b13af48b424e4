"""Sweeps whose trials have several workers under Ray Train, on a Ray without the dashboard that could clean up."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from rich.console import Console

from harness.checkpoints import TRAINING
from harness.progress import Progress
from harness.records import TrialRecord
from harness.sweep import run_sweep
from ndcl import checkpoints
from ndcl.errors import UserError
from tests.integration import sweeps
from tests.integration.made_vectors import TARGET, write_vectors
from tests.integration.train_workers import train_workers

pytestmark = pytest.mark.slow
NO_SEARCH = {"num_trials": 1, "scheduler": {"name": "none"}}
LONG = {"model.backbone": "linear", "num_steps": 60, "evaluate_every": 3, "batch_size": 6}


def written(folder: Path, **changes: Any) -> Path:
    data = folder / "data" if (folder / "data").is_dir() else write_vectors(folder / "data")
    values = {
        "data": {"name": "made", "targets": [TARGET], "folder": str(data)},
        "imbalance": {"setting": "long_tail", "ratio": 4, "validation": 10},
        "space": {"optimizer.learning_rate": {"type": "float", "low": 1e-3, "high": 1, "log": True, "default": 0.1}},
        "train": {"model.backbone": "linear", "num_steps": 6, "evaluate_every": 2, "batch_size": 7},
        "search": {"num_trials": 2, "scheduler": {"name": "asha", "min_resource": 1, "reduction_factor": 2}},
        "final": {"seeds": 0},
    }
    return sweeps.written(folder, **(values | changes))


def run(folder: Path, results: Path, **changes: Any) -> dict[str, TrialRecord]:
    plan = sweeps.planned(written(folder, **changes), results)
    return {record.name: record for record in run_sweep(plan, Progress(Console(), quiet=True)).records}


def record_of(results: Path, algorithm: str) -> TrialRecord | None:
    return next((record for record in sweeps.records(results) if record.study.algorithm == algorithm), None)


def network(record: TrialRecord) -> dict[str, torch.Tensor]:
    assert record.checkpoint is not None
    state: dict[str, torch.Tensor] = checkpoints.read(Path(record.checkpoint) / TRAINING)[0]["network"]
    return state


def check_nothing_left() -> None:
    """All placement groups are gone, with what they held."""
    deadline = time.monotonic() + 30
    while ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"]:
        assert time.monotonic() < deadline, ray.util.placement_group_table()
        time.sleep(0.2)
    assert {group["state"] for group in ray.util.placement_group_table().values()} <= {"REMOVED"}
    assert not train_workers(os.getpid())


def test_two_workers_find_what_one_finds_and_leave_nothing_behind(tmp_path: Path, local_ray_session: None) -> None:
    algorithms = {"algorithms": {"erm": None, "ndcl": None}}
    several = run(tmp_path, tmp_path / "two", resources={"workers_per_trial": 2}, **algorithms)
    check_nothing_left()
    sweeps.check_complete(sweeps.planned(tmp_path / "tiny.yaml", tmp_path / "two"))
    single = run(tmp_path, tmp_path / "one", resources={"max_concurrent": 1}, **algorithms)
    assert {record.state for record in several.values()} == {"finished", "pruned"}
    assert several.keys() == single.keys()
    for name, record in several.items():
        assert (record.state, record.attempts) == (single[name].state, 1)
        assert record.values == single[name].values
        for mine, other in zip(record.evaluations, single[name].evaluations, strict=True):
            assert mine["losses"] == pytest.approx(other["losses"], rel=1e-5)
            assert (mine["validation"], mine["target"]) == (other["validation"], other["target"])


def test_an_exploding_loss_fails_its_trial_at_once(tmp_path: Path, local_ray_session: None) -> None:
    rate = {"optimizer.learning_rate": {"type": "float", "low": 1e30, "high": 1e38, "default": 1e38}}
    resources = {"workers_per_trial": 2}
    with pytest.raises(UserError, match="needs 99 workers of 1 CPU and 0 GPU, but there is room for 2 on 1"):
        run(tmp_path, tmp_path, algorithms={"erm": None}, search=NO_SEARCH, resources={"workers_per_trial": 99})
    found = run(tmp_path, tmp_path / "nan", algorithms={"erm": None}, search=NO_SEARCH, space=rate, resources=resources)
    [record] = found.values()
    assert (record.state, record.attempts) == ("failed", 1)
    assert (record.reason or "").startswith("NonFiniteLossError: ")
