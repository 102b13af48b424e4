"""A step's gradient is that of the loss, in one piece or in micro-batches, and never waits for the device."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ndcl.algorithms import ALGORITHMS, Sources, build_algorithm
from ndcl.batch import Batch, Layout
from ndcl.config import TrainConfig
from ndcl.errors import UserError
from ndcl.models import Network, build_network
from ndcl.parallel import Group
from ndcl.recompute import blocks, recompute_blocks
from ndcl.step import Step
from ndcl.training import Training
from tests.memory import PeakMemory
from tests.ndcl.test_losses import SYNCHRONISING, Operations

torch.set_num_threads(1)
CLASSES, DOMAINS, ROWS = 5, 3, 9
SHAPES: dict[str, tuple[int, ...]] = {"mlp": (7,), "small_cnn": (12, 10, 3), "resnet18": (16, 16, 3)}


def config_of(algorithm: str = "ndcl", backbone: str = "mlp", **values: Any) -> TrainConfig:
    base: dict[str, Any] = {
        "data": {"name": "unused", "target": "unused"},
        "algorithm": {"name": algorithm},
        "model": {"backbone": backbone, "mlp_width": 16, "dropout": 0.2},
        "batch_size": ROWS,
    }
    return TrainConfig.from_dict(base | values)


class Case:
    """A network and a batch."""

    def __init__(self, config: TrainConfig, rows: int = ROWS, dtype: torch.dtype = torch.float64) -> None:
        generator = np.random.default_rng(0)
        labels = generator.integers(CLASSES, size=DOMAINS * rows)
        shape = SHAPES[config.model.backbone]
        inputs = torch.from_numpy(generator.normal(size=(len(labels), *shape))).to(dtype)
        layout = Layout.of(labels, np.repeat(np.arange(DOMAINS), rows), torch.device("cpu"))
        self.batch = Batch(inputs=inputs.movedim(-1, 1) if len(shape) == 3 else inputs, layout=layout)
        sources = Sources(frequencies=np.full((DOMAINS, CLASSES), 1 / CLASSES), batch_size=rows, seed=0)
        self.algorithm = build_algorithm(config.algorithm, sources)
        self.network: Network = build_network(config.model, shape, CLASSES, seed=0).to(dtype).train()
        self.step = Step(self.network, self.algorithm, config, CLASSES, Group())

    def gradient(self) -> torch.Tensor:
        self.step.gradient(self.batch, 4)
        return self.collected()

    def collected(self) -> torch.Tensor:
        return torch.cat([p.grad.flatten() for p in self.network.parameters() if p.grad is not None])


def close(first: torch.Tensor, second: torch.Tensor) -> bool:
    return bool((first - second).abs().max() < 1e-10 * second.abs().max())


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_it_is_the_gradient_of_the_algorithms_loss(algorithm: str) -> None:
    case = Case(config_of(algorithm, model={"backbone": "mlp", "mlp_width": 16}))
    gradient = case.gradient()
    case.network.zero_grad()
    case.algorithm(case.network, case.batch, 4).total.backward()
    assert torch.equal(gradient, case.collected())


@pytest.mark.parametrize(
    ("backbone", "micro_batch_size"),
    [("mlp", 1), ("mlp", 4), ("mlp", 27), ("mlp", 100), ("small_cnn", 4), ("resnet18", 5)],
)
def test_micro_batches_give_the_same_gradient(backbone: str, micro_batch_size: int) -> None:
    config = config_of("ndcl", backbone)
    whole = Case(config).gradient()
    pieces = Case(dataclasses.replace(config, micro_batch_size=micro_batch_size)).gradient()
    assert close(pieces, whole)
    assert whole.abs().max() > 0


def test_micro_batches_drop_the_same_numbers_in_both_forwards() -> None:
    case = Case(config_of(micro_batch_size=4))
    seen: list[torch.Tensor] = []
    case.network.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    case.gradient()
    assert len(seen) == 4 * -(-DOMAINS * ROWS // 4)  # real and mixed rows, twice
    first, second = torch.cat(seen[: len(seen) // 2]), torch.cat(seen[len(seen) // 2 :])
    assert torch.equal(first, second)


def test_micro_batches_need_the_memory_of_one() -> None:
    peaks = {}
    for micro_batch_size in (None, 6):
        case = Case(config_of("ndcl", "small_cnn", micro_batch_size=micro_batch_size), rows=40)
        with PeakMemory() as memory:
            case.gradient()
        peaks[micro_batch_size] = memory.peak_bytes
    assert peaks[6] < peaks[None] / 4


@pytest.mark.parametrize("micro_batch_size", [None, 10])
def test_activation_checkpointing_gives_the_same_gradient(micro_batch_size: int | None) -> None:
    config = config_of("ndcl", "resnet18", micro_batch_size=micro_batch_size)
    plain, recomputing = (Case(dataclasses.replace(config, activation_checkpointing=value)) for value in (False, True))
    assert close(recomputing.gradient(), plain.gradient())
    assert list(recomputing.network.state_dict()) == list(plain.network.state_dict())


def test_activation_checkpointing_keeps_less() -> None:
    peaks = []
    for recomputes in (False, True):
        case = Case(config_of("ndcl", "resnet18", model={"backbone": "resnet18"}, activation_checkpointing=recomputes))
        with PeakMemory() as memory:
            loss = case.algorithm(case.network, case.batch, 4)  # forwards alone: gradients would be most of it
        assert loss.total.isfinite()
        peaks.append(memory.peak_bytes)
    assert peaks[1] < 0.7 * peaks[0]  # what is left: the stem, and the inputs of 8 blocks


def test_dropout_inside_a_block_is_the_same_when_it_is_computed_again() -> None:
    config = config_of("ndcl", "mlp", model={"backbone": "mlp", "mlp_width": 16, "dropout": 0.5})
    gradients = []
    for recomputes in (False, True):
        case = Case(config)
        if recomputes:
            features = case.network[0]
            case.network[0] = torch.nn.Sequential(features)
            recompute_blocks(case.network, case.step._dropped_by)
        gradients.append(case.gradient())
    assert torch.equal(*gradients)


def test_a_residual_networks_blocks_are_found() -> None:
    network = build_network(config_of("erm", "resnet18").model, SHAPES["resnet18"], CLASSES, seed=0)
    assert [type(block).__name__ for block in blocks(network[0])] == ["BasicBlock"] * 8


def test_a_network_without_blocks_cannot_recompute_them() -> None:
    with pytest.raises(UserError, match="activation_checkpointing: this backbone has no blocks"):
        Case(config_of("erm", "small_cnn", activation_checkpointing=True))


@pytest.mark.parametrize("values", [{"micro_batch_size": 4}, {"activation_checkpointing": True}])
def test_batchnorm_that_is_not_frozen_is_refused(values: dict[str, Any]) -> None:
    model = {"backbone": "resnet18", "freeze_batchnorm": False}
    with pytest.raises(UserError, match=r"model\.freeze_batchnorm: false works with one worker") as error:
        Case(config_of("erm", "resnet18", model=model, **values))
    assert "\n" not in str(error.value)


def test_quirk_17_a_step_never_waits_for_the_device() -> None:
    for micro_batch_size in (None, 4):
        case = Case(config_of(micro_batch_size=micro_batch_size))
        with Operations() as operations:
            case.gradient()
        assert sum(operations.counts.values()) > 100
        assert not SYNCHRONISING & set(operations.counts)


def test_bf16_is_close_and_its_losses_are_float32() -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        case = Case(config_of("ndcl", "small_cnn", precision=precision), dtype=torch.float32)
        loss = case.step.gradient(case.batch, 0)
        assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in case.network.parameters())
        losses[precision] = loss.terms["total"]
        assert loss.total.dtype == torch.float32
    assert losses["bf16"].item() != losses["fp32"].item()
    assert losses["bf16"].item() == pytest.approx(losses["fp32"].item(), rel=0.02)


def digits_config(**values: Any) -> TrainConfig:
    base: dict[str, Any] = {
        "data": {"name": "digits", "target": "sign"},
        "algorithm": {"name": "ndcl"},
        "imbalance": {"counts": [20, 12, 8, 5, 3, 2, 2, 1, 1, 1], "validation": 4},
        "model": {"backbone": "mlp", "mlp_width": 16, "dropout": 0.1},
        "batch_size": 6,
        "num_steps": 4,
        "evaluate_every": 2,
        "device": "cpu",
    }
    return TrainConfig.from_dict(base | values)


@pytest.mark.parametrize("values", [{"precision": "bf16"}, {"precision": "bf16", "micro_batch_size": 5}])
def test_a_training_in_bf16_evaluates_and_resumes(values: dict[str, Any], tmp_path: Path) -> None:
    training = Training(digits_config(**values))
    steps = training.evaluations()
    next(steps)
    training.save(tmp_path / "c")
    last = next(steps)
    resumed = Training(digits_config(**values))
    resumed.load(tmp_path / "c")
    again = next(resumed.evaluations())
    assert dataclasses.replace(again, seconds=0) == dataclasses.replace(last, seconds=0)
    with pytest.raises(UserError, match="precision = 'bf16', but the config says 'fp32'"):
        Training(digits_config()).load(tmp_path / "c")


@pytest.mark.slow
def test_a_compiled_training_ends_where_a_plain_one_does() -> None:
    plain, compiled = (Training(digits_config(compile=value)) for value in (False, True))
    for training in (plain, compiled):
        assert [each.step for each in training.evaluations()] == [2, 4]
    assert compiled.network._compiled_call_impl is not None
    for (name, ours), theirs in zip(compiled.network.named_parameters(), plain.network.parameters(), strict=True):
        assert "_orig_mod" not in name
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
