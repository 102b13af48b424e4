"""Parts within a node, compiled blocks and bf16, in every mixture: 4 workers on 2 nodes do what one worker does."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp

from ndcl.compatibility import require_steps
from ndcl.errors import UserError
from ndcl.models import build_network
from ndcl.models.compilation import require_compilable
from ndcl.training import train
from tests.ndcl.parallel import layout_cases, parallel_cases
from tests.ndcl.parallel.layout_cases import IN_BF16, LAYOUTS, WORLD_SIZE, blocks_config
from tests.ndcl.parallel.parallel_cases import Result
from tests.ndcl.parallel.test_parallel import TOLERANCE, apart, assert_same, difference

torch.set_num_threads(1)


@dataclasses.dataclass(frozen=True)
class Outcome:
    data: Path
    checkpoints: Path
    alone: Result
    workers: list[Result]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    root = tmp_path_factory.mktemp("layouts")
    parallel_cases.make_data(root / "data")
    mp.spawn(layout_cases.worker, (root / "data", root), nprocs=WORLD_SIZE)
    workers = [torch.load(root / f"{rank}.pt", weights_only=False) for rank in range(WORLD_SIZE)]
    return Outcome(root / "data", root / "checkpoints", layout_cases.alone(root / "data"), workers)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_parameters_are_those_of_one_worker(outcome: Outcome, layout: str) -> None:
    for results in outcome.workers:
        assert difference(results[layout], outcome.alone["none"]) < TOLERANCE
        assert_same(results[layout]["evaluations"], outcome.alone["none"]["evaluations"])


@pytest.mark.parametrize("layout", IN_BF16)
def test_bf16_in_parts_is_as_close_as_its_rounding(outcome: Outcome, layout: str) -> None:
    rounding = apart(outcome.alone["none, bf16"], outcome.alone["none"])
    assert rounding > 1e-3
    for results in outcome.workers:
        assert results[f"{layout}, bf16"]["parameters"].dtype == torch.float32
        assert apart(results[f"{layout}, bf16"], outcome.alone["none, bf16"]) < rounding


def test_batchnorm_in_bf16_keeps_its_statistics(outcome: Outcome) -> None:
    rounding = apart(outcome.alone["resnet, bf16"], outcome.alone["resnet"])
    for results in outcome.workers:
        assert apart(results["resnet, bf16"], outcome.alone["resnet, bf16"]) < 2 * rounding


def test_in_bf16_parameters_are_rounded_and_gradients_are_not(outcome: Outcome) -> None:
    for results in outcome.workers:
        assert results["exchanged"] == {"parameters": {torch.bfloat16}, "sums": {torch.float32}}


def test_compiled_blocks_give_their_gradients_while_the_backward_pass_runs(outcome: Outcome) -> None:
    """Of 12 parameters the head has 2 and each block 4; a network compiled as one gives all at the end."""
    for results in outcome.workers:
        assert results["sums", False] == results["sums", True] == [6, 10]


@pytest.mark.parametrize("layout", ["none", "compiled"])
def test_a_checkpoint_of_hybrid_sharding_goes_on_in_one_process(outcome: Outcome, layout: str, tmp_path: Path) -> None:
    shutil.copytree(outcome.checkpoints, tmp_path / "checkpoints")
    values = LAYOUTS[layout] | {"num_steps": 4}
    with layout_cases.traced(), parallel_cases.float64():
        evaluations = [
            each.to_dict() for each in train(blocks_config(outcome.data, **values), tmp_path / "checkpoints")
        ]
    assert_same(evaluations[-1:], outcome.alone["none"]["evaluations"][-1:])


def test_nodes_that_hybrid_sharding_cannot_use_are_refused_on_all_workers(outcome: Outcome) -> None:
    for results in outcome.workers:
        assert results["one a node"].startswith("sharding: hybrid needs several workers on each node, found one;")
        assert results["uneven"].startswith("sharding: hybrid needs as many workers on each node, found 3, 1; set it")


def test_a_network_in_parts_without_blocks_is_not_compiled() -> None:
    config = blocks_config(Path(), model={"backbone": "mlp"}, sharding="full", compile=True)
    network = build_network(config.model, (6,), 3, seed=0)
    require_compilable(network, in_parts=False)
    with pytest.raises(UserError, match="compile: together with sharding it needs a backbone that is made of blocks"):
        require_compilable(network, in_parts=True)
    with pytest.raises(UserError, match="compile: together with sharding"):  # as the plan says
        require_steps(config, on_several=True)
    require_steps(config, on_several=False)
