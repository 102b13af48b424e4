"""Two workers, one of which is asked to stop: both do after the same step, and continue bit-identically."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from ndcl.config import TrainConfig
from ndcl.evaluation import Evaluation
from ndcl.parallel import Group
from ndcl.parallel.agreement import LAG, Agreement
from ndcl.training import CrossValidation, InterruptedTrainingError, Training, build_training
from tests.ndcl.parallel.parallel_cases import config_of, make_data

CASES = ("vectors", "images/sharded", "cross-validation")
STEPS = (1, 4, 7, 8)
"""After which the second worker is asked to stop: within an interval, at an evaluation, and too near to the end."""
NUM_STEPS = 9
EVERY = 3


def config(data: Path, case: str) -> TrainConfig:
    made = config_of(data, "images" if "images" in case else "vectors", {"name": "ndcl"})
    made = dataclasses.replace(made, num_steps=NUM_STEPS, evaluate_every=EVERY)
    if case == "cross-validation":
        return dataclasses.replace(made, select_by=("leave_one_domain_out_accuracy",))
    return dataclasses.replace(made, sharding="full") if "sharded" in case else made


def folds(training: Training | CrossValidation) -> list[Training]:
    return list(training.folds.values()) if isinstance(training, CrossValidation) else [training]


def asked_after(training: Training | CrossValidation, step: int, rank: int) -> Callable[[], bool]:
    """For the second worker yes, once the first fold but one, or the only one, has taken `step` steps."""
    watched = folds(training)[:2][-1]
    return lambda: rank == 1 and watched.step >= step


def state(training: Training | CrossValidation) -> list[Tensor]:
    return [value.clone() for fold in folds(training) for value in fold.network.state_dict().values()]


def trained(training: Training | CrossValidation) -> list[dict[str, Any]]:
    return [without_times(evaluation) for evaluation in training.evaluations()]


def without_times(evaluation: Evaluation) -> dict[str, Any]:
    return dataclasses.replace(evaluation, seconds=0.0).to_dict()


def interrupted(made: TrainConfig, step: int, rank: int, folder: Path) -> dict[str, Any]:
    """A training that is asked to stop and resumed: where it stood, its evaluations, and its end."""
    training = build_training(made)
    training.stop_once(asked_after(training, step, rank))
    seen, stood, stopped = [], None, None
    try:
        for evaluation in training.evaluations():
            seen.append(without_times(evaluation))
    except InterruptedTrainingError as error:
        stopped = error.training
    if stopped is not None:
        assert stopped is training
        stood = [fold.step for fold in folds(training)]
        training.save(folder)
        training = build_training(made)
        training.load(folder)
        seen += trained(training)
    return {"stood": stood, "evaluations": seen, "state": _whole(state(training))}


def _whole(values: list[Tensor]) -> list[Tensor]:
    return [value.full_tensor() if hasattr(value, "full_tensor") else value for value in values]


def worker(rank: int, data: Path, out: Path) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{out}/meeting", rank=rank, world_size=2)
    results: dict[str, Any] = {}
    for case in CASES:
        made = config(data, case)
        undisturbed = build_training(made)
        results[case] = {"evaluations": trained(undisturbed), "state": _whole(state(undisturbed))}
        for step in STEPS:
            results[f"{case}, {step}"] = interrupted(made, step, rank, out / f"{case.replace('/', '-')}-{step}")
    agreement = Agreement(Group.current(), torch.device("cpu"))
    results["answers"] = [agreement(rank == step == 1) for step in range(5)]
    torch.save(results, out / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """By worker, what it saw."""
    root = tmp_path_factory.mktemp("stopping")
    make_data(root / "data")
    mp.spawn(worker, (root / "data", root), nprocs=2)
    return [torch.load(root / f"{rank}.pt", weights_only=False) for rank in range(2)]


def test_all_know_of_a_yes_after_the_same_step(results: list[dict[str, Any]]) -> None:
    expected = [False] * (1 + LAG) + [True, False]
    assert [result["answers"] for result in results] == [expected, expected]


def test_a_single_worker_knows_at_once() -> None:
    agreement = Agreement(Group(), torch.device("cpu"))
    assert [agreement(answer) for answer in (False, True, False)] == [False, True, False]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("case", CASES)
def test_asked_on_one_worker_both_stop_after_the_same_step_and_continue_bit_identically(
    results: list[dict[str, Any]], case: str, step: int
) -> None:
    first, second = (result[f"{case}, {step}"] for result in results)
    assert first["stood"] == second["stood"] == stands(case, step)
    for result, ours in zip(results, (first, second), strict=True):
        expected = result[case]
        assert ours["evaluations"] == expected["evaluations"]
        assert all(torch.equal(a, b) for a, b in zip(ours["state"], expected["state"], strict=True))


def stands(case: str, step: int) -> list[int] | None:
    """The steps of a training, or of each fold of five, when both workers stop; None if it ends before."""
    steps = [0] * (5 if case == "cross-validation" else 1)
    answers: list[bool] = []
    for end in range(EVERY, NUM_STEPS + 1, EVERY):
        for fold in range(len(steps)):
            while steps[fold] < end:
                steps[fold] += 1
                if steps[fold] < end:  # nobody is asked where an evaluation comes next
                    answers.append(steps[:2][-1] >= step)
                    if len(answers) > LAG and answers[-1 - LAG]:
                        return steps
    return None
