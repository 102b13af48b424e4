"""Every sampler, scheduler and objective in a real sweep: each trial once, and journal, Optuna and MLflow agree."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.cli.progress import Progress
from harness.records import select
from harness.records.record import PAUSED
from harness.records.selection import pareto_front
from harness.sweep.run import run_sweep
from ndcl.config import TrainConfig
from ndcl.training import train
from tests.integration import sweeps
from tests.made.made_vectors import TARGET, write_vectors

RATE, RATIO, ALPHA, MODE = "optimizer.learning_rate", "resampling_ratio", "algorithm.alpha", "algorithm.mixup_mode"
SPACE = {
    RATE: {"type": "float", "low": 1e-3, "high": 1, "log": True, "default": 0.1},
    MODE: {"type": "choice", "choices": ["rev", "set"]},
    ALPHA: {"type": "float", "low": 0.1, "high": 10, "log": True, "when": {MODE: "rev"}},
}
GRID = {RATE: {"type": "choice", "choices": [0.01, 0.1]}, RATIO: {"type": "choice", "choices": [None, 1]}}


def run(folder: Path, **search: Any) -> Any:
    data = write_vectors(folder / "data")
    grid = search.get("sampler") == "grid"
    path = sweeps.written(
        folder,
        data={"name": "made", "targets": [TARGET], "folder": str(data)},
        imbalance={"setting": "long_tail", "ratio": 4, "validation": 10},
        algorithms={"ndcl": None},
        space=GRID if grid else SPACE,
        train={"model.backbone": "linear", "num_steps": 6, "evaluate_every": 2, "batch_size": 6},
        search={"num_trials": None if grid else 6, **search},
        final={"seeds": 1},
    )
    plan = sweeps.planned(path, folder)
    return plan, run_sweep(plan, Progress(Console(), quiet=True))


@pytest.mark.parametrize(
    "search",
    [
        pytest.param({"sampler": "gp"}, marks=pytest.mark.soak),
        pytest.param({"sampler": "cmaes", "scheduler": {"name": "median"}}, marks=pytest.mark.soak),
        pytest.param({"sampler": "qmc", "scheduler": {"name": "none"}}, marks=pytest.mark.soak),
        {"sampler": "grid"},
        {"sampler": "tpe", "scheduler": {"name": "pbt"}},
        pytest.param({"scheduler": {"name": "hyperband"}}, marks=pytest.mark.soak),
        pytest.param({"objective": "leave_one_domain_out_accuracy"}, marks=pytest.mark.soak),
        pytest.param({"objective": "leave_one_domain_out_likelihood"}, marks=pytest.mark.soak),
        {"sampler": "nsga2", "objective": ["worst_domain_accuracy", "few_shot_accuracy"]},
    ],
    ids=lambda search: "-".join(map(str, search.values())),
)
def test_each_kind_of_search_runs_to_its_end(tmp_path: Path, search: Any, local_ray_session: None) -> None:
    plan, result = run(tmp_path, **search)
    assert result.tracking_problem is None
    assert [study.stage for study in result.studies] == ["done"]
    sweeps.check_complete(plan)
    found = [record for record in result.records if record.stage == "search"]
    assert len(found) == plan.studies[0].num_trials == (4 if search.get("sampler") == "grid" else 6)
    if search.get("sampler") != "grid":
        assert all((ALPHA in record.values) == (record.values[MODE] == "rev") for record in found)
    if len(plan.studies[0].objectives) > 1:
        assert select(found)[0] in pareto_front(found)


def test_trials_that_are_promoted_train_as_if_they_had_never_waited(tmp_path: Path, local_ray_session: None) -> None:
    plan, result = run(tmp_path, scheduler={"name": "asha", "mode": "promote", "reduction_factor": 2})
    assert [study.stage for study in result.studies] == ["done"]
    sweeps.check_complete(plan)
    found = [record for record in result.records if record.stage == "search"]
    paused = {record.number: record.notes[PAUSED] for record in found}
    assert {tuple(steps) for steps in paused.values()} == {(2,), (2, 4)}
    finished = next(record for record in found if record.state == "finished")
    assert paused[finished.number] == [2, 4]
    assert finished.attempts == 1
    alone = train(TrainConfig.from_dict(finished.config))
    for evaluation, again in zip(finished.evaluations, alone, strict=True):
        assert (evaluation["losses"], evaluation["validation_accuracy"]) == (again.losses, again.validation_accuracy)
