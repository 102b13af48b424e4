"""A step's gradient is that of the loss, in one piece or in micro-batches, and never waits for the device."""

import copy
import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ndcl.algorithm_configs import ALGORITHM_CONFIGS
from ndcl.algorithms import ALGORITHMS, Algorithm, SourceDomains, build_algorithm
from ndcl.batch import Batch, Layout
from ndcl.blocks import blocks
from ndcl.config import TrainConfig
from ndcl.errors import UserError
from ndcl.models import build_network, network_of
from ndcl.models.activation_checkpointing import recompute_blocks
from ndcl.parallel import Group
from ndcl.training import Training
from ndcl.training.step import Step
from tests.memory import PeakMemory
from tests.ndcl.test_losses import SYNCHRONISING, Operations

torch.set_num_threads(1)
CLASSES, DOMAINS, ROWS = 5, 3, 9
SHAPES: dict[str, tuple[int, ...]] = {"mlp": (7,), "small_cnn": (12, 10, 3), "resnet18": (16, 16, 3)}


def config_of(algorithm: str | dict[str, Any] = "ndcl", backbone: str = "mlp", **values: Any) -> TrainConfig:
    base: dict[str, Any] = {
        "data": {"name": "unused", "target": "unused"},
        "algorithm": {"name": algorithm} if isinstance(algorithm, str) else algorithm,
        "model": {"backbone": backbone, "mlp_width": 16, "dropout": 0.2, "freeze_batchnorm": True},
        "batch_size": ROWS,
    }
    return TrainConfig.from_dict(base | values)


class Case:
    """A network and a batch."""

    def __init__(
        self,
        config: TrainConfig,
        rows: int = ROWS,
        dtype: torch.dtype = torch.float64,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        generator = np.random.default_rng(0)
        labels = generator.integers(CLASSES, size=DOMAINS * rows)
        shape = shape or SHAPES[config.model.backbone]
        inputs = torch.from_numpy(generator.normal(size=(len(labels), *shape))).to(dtype)
        layout = Layout.of(labels, np.repeat(np.arange(DOMAINS), rows), torch.device("cpu"))
        self.batch = Batch(inputs=inputs.movedim(-1, 1) if len(shape) == 3 else inputs, layout=layout)
        self.network = network_of(config, shape, CLASSES, DOMAINS).to(dtype).train()
        sources = SourceDomains(
            frequencies=np.full((DOMAINS, CLASSES), 1 / CLASSES),
            batch_size=rows,
            seed=0,
            num_features=self.network.num_features,
        )
        self.algorithm = build_algorithm(config.algorithm, sources).to(dtype)
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
    backbone = "small_cnn" if ALGORITHM_CONFIGS[algorithm]().context else "mlp"
    case = Case(config_of(algorithm, model={"backbone": backbone, "mlp_width": 16}))
    if case.algorithm.walks:
        micro = Case(config_of(algorithm, model={"backbone": "mlp", "mlp_width": 16}, micro_batch_size=4))
        assert close(walked(micro), walked(case))
        return
    if case.algorithm.parts:
        for part in case.algorithm.parts:
            check_part(case, part)
        return
    before = copy.deepcopy(case.algorithm)
    gradient = case.gradient()
    if case.algorithm.combines_domains:
        expected = [
            case.algorithm.combine(torch.stack(by_domain), 4)
            for by_domain in zip(*(gradient_of_risk(case, domain) for domain in range(DOMAINS)), strict=True)
        ]
        assert close(gradient, torch.cat([each.flatten() for each in expected]))
        return
    case.network.zero_grad()
    before(case.network, case.batch, 4).total.backward()
    found = case.collected()
    assert close(gradient[: len(found)], found)
    assert not gradient[len(found) :].any()  # of the head, which comes last, where the algorithm has its own
    assert len(found) == len(gradient) or case.algorithm.has_own_head


def check_part(case: Case, part: Algorithm) -> None:
    case.network.zero_grad()
    case.step.gradient(case.batch, 4, part)
    if not part.trains_network(4):
        assert all(p.grad is None for p in case.network.parameters())
        assert all(p.grad is not None for p in part.parameters())
        return
    gradient = case.collected()
    case.network.zero_grad()
    part(case.network, case.batch, 4).total.backward()
    found = case.collected()
    assert close(gradient[: len(found)], found)  # the head, which comes last, has none where the loss doesn't use it
    assert not gradient[len(found) :].any()


def walked(case: Case) -> torch.Tensor:
    """The parameters after a step that walks."""
    optimizer = torch.optim.SGD(case.network.parameters(), 0.1)
    case.step.walk(case.batch, 4, lambda decays: optimizer.step())
    return torch.cat([p.detach().flatten() for p in case.network.parameters()])


@pytest.mark.parametrize("backbone", ["small_cnn", "resnet18"])
@pytest.mark.parametrize("algorithm", ["and_mask", "sand_mask"])
def test_a_rule_gives_the_same_whatever_the_order_in_memory(algorithm: str, backbone: str) -> None:
    case = Case(config_of(algorithm, model={"backbone": backbone, "freeze_batchnorm": True}), dtype=torch.float32)
    gradients = [gradient_of_risk(case, domain) for domain in range(DOMAINS)]
    for parameter, by_domain in zip(case.network.parameters(), zip(*gradients, strict=True), strict=True):
        found = case.algorithm.combine(torch.stack(by_domain), 0)
        plain = case.algorithm.combine(torch.stack([each.contiguous() for each in by_domain]), 0)
        torch.testing.assert_close(found, plain, rtol=1e-6, atol=0)
        assert found.shape == parameter.shape


def gradient_of_risk(case: Case, domain: int) -> list[torch.Tensor]:
    rows = slice(domain * ROWS, (domain + 1) * ROWS)
    risk = torch.nn.functional.cross_entropy(case.network(case.batch.inputs[rows]), case.batch.layout.labels[rows])
    return list(torch.autograd.grad(risk, list(case.network.parameters())))


AT_FEATURES = {"name": "ndcl", "mixup_at": "features"}


@pytest.mark.parametrize("algorithm", [AT_FEATURES, {**AT_FEATURES, "cross_entropy": "rows", "logit_adjustment": 1.0}])
@pytest.mark.parametrize("backbone", ["mlp", "small_cnn", "resnet18"])
def test_it_is_the_gradient_of_a_loss_on_mixed_features(algorithm: dict[str, Any], backbone: str) -> None:
    model = {"backbone": backbone, "mlp_width": 16, "freeze_batchnorm": True}
    case = Case(config_of(model=model, algorithm=algorithm))
    gradient = case.gradient()
    case.network.zero_grad()
    case.algorithm(case.network, case.batch, 4).total.backward()
    assert close(gradient, case.collected())
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("micro_batch_size", [1, 4, 27, 100])
@pytest.mark.parametrize("backbone", ["mlp", "small_cnn"])
def test_mixed_features_in_micro_batches_give_the_same_gradient(backbone: str, micro_batch_size: int) -> None:
    config = config_of(backbone=backbone, algorithm=AT_FEATURES)
    whole = Case(config).gradient()
    assert close(Case(dataclasses.replace(config, micro_batch_size=micro_batch_size)).gradient(), whole)


def test_features_are_mixed_without_another_pass_through_the_backbone() -> None:
    case = Case(config_of(backbone="small_cnn", algorithm=AT_FEATURES))
    rows: list[int] = []
    case.network[0].register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    case.gradient()
    assert rows == [DOMAINS * ROWS]


def test_on_a_linear_backbone_mixed_features_are_mixed_inputs() -> None:
    model = {"backbone": "linear"}
    parts = [
        Case(config_of(model=model, algorithm={"name": "ndcl", "mixup_at": place}), shape=(7,)).gradient()
        for place in ("inputs", "features")
    ]
    assert close(parts[1], parts[0])


def test_batchnorm_follows_the_real_rows_alone() -> None:
    model = {"backbone": "resnet18", "freeze_batchnorm": False}
    plain = Case(config_of("erm", model=model))
    mixed = Case(config_of(model=model, algorithm=AT_FEATURES))
    for case in (plain, mixed):
        case.gradient()
    for first, second in zip(plain.network.batchnorms, mixed.network.batchnorms, strict=True):
        assert torch.equal(first.running_mean, second.running_mean)


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
    seen = logits_seen(case)
    case.gradient()
    pieces = 2 * -(-DOMAINS * ROWS // 4)  # of real and of mixed rows
    assert len(seen) == 2 * pieces - 1
    assert torch.equal(torch.cat(seen[: pieces - 1]), torch.cat(seen[pieces:]))


def logits_seen(case: Case) -> list[torch.Tensor]:
    """The logits of each forward pass that follows."""
    seen: list[torch.Tensor] = []
    case.network.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    return seen


@pytest.mark.parametrize(
    ("algorithm", "micro_batch_size", "passes"),
    [
        *(("erm", None, 1), ("erm", 27, 1), ("erm", 100, 1), ("erm", 26, 3), ("erm", 9, 5)),
        # 27 mixed rows follow the 27 of the batch: both stay in the network from 54 on, the mixed ones alone from 27 on
        *(("ndcl", None, 2), ("ndcl", 54, 2), ("ndcl", 53, 3), ("ndcl", 27, 3), ("ndcl", 26, 7)),
    ],
)
def test_rows_that_fit_go_through_the_network_once(algorithm: str, micro_batch_size: int | None, passes: int) -> None:
    case = Case(config_of(algorithm, micro_batch_size=micro_batch_size))
    seen = logits_seen(case)
    gradient = case.gradient()
    assert len(seen) == passes
    plain = Case(config_of(algorithm)).gradient()
    assert torch.equal(gradient, plain) if passes == {"erm": 1, "ndcl": 2}[algorithm] else close(gradient, plain)


@pytest.mark.parametrize("micro_batch_size", [1, 4, 27, 53])
def test_no_more_rows_than_a_micro_batch_have_a_graph_at_once(micro_batch_size: int) -> None:
    case, alive, most = Case(config_of(micro_batch_size=micro_batch_size)), [0], [0]

    def forward(module: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        if output.requires_grad:
            alive[0] += len(output)
            most[0] = max(most[0], alive[0])
            output.register_hook(lambda gradient: alive.__setitem__(0, alive[0] - len(gradient)))

    case.network.register_forward_hook(forward)
    case.gradient()
    assert alive == [0]
    assert 0 < most[0] <= micro_batch_size


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
    peaks, model = [], {"backbone": "resnet18", "freeze_batchnorm": True}
    for recomputes in (False, True):
        case = Case(config_of("ndcl", "resnet18", model=model, activation_checkpointing=recomputes))
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


@pytest.mark.parametrize("freeze", [False, None])
@pytest.mark.parametrize("values", [{"micro_batch_size": 4}, {"activation_checkpointing": True}])
def test_batchnorm_that_is_not_frozen_is_refused(values: dict[str, Any], freeze: bool | None) -> None:
    model = {"backbone": "resnet18", "freeze_batchnorm": freeze}
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


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.soak)])
def test_a_compiled_training_ends_where_a_plain_one_does(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first traces the network and its gradient; the second, the default, also compiles them, for a minute."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    plain, compiled = (Training(digits_config(compile=value)) for value in (False, True))
    for training in (plain, compiled):
        assert [each.step for each in training.evaluations()] == [2, 4]
    assert compiled.network[0].forward.__name__ == "forward_rows"
    for (name, ours), theirs in zip(compiled.network.named_parameters(), plain.network.parameters(), strict=True):
        assert "_orig_mod" not in name
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
