"""Second derivatives of a domain's risk: against differences of its gradient, on every kind of network."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ndcl.algorithm_configs import algorithm_config
from ndcl.algorithms import SourceDomains, build_algorithm
from ndcl.batch import Batch, Layout
from ndcl.config import DataConfig, ModelConfig, TrainConfig
from ndcl.models import build_network
from ndcl.parallel import Group
from ndcl.training.step import Step, _Walk

DOMAINS, ROWS, CLASSES = 2, 4, 3
NETWORKS: tuple[dict[str, Any], ...] = (
    {"backbone": "small_cnn", "dropout": 0.3},
    {"backbone": "resnet18"},
    {"backbone": "resnet18", "freeze_batchnorm": True},
    {"backbone": "resnet18", "freeze_stages": 3, "freeze_batchnorm": True},
    {"backbone": "timm:test_vit"},
)


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def walk_of(model: dict[str, Any], **values: Any) -> _Walk:
    config = TrainConfig(
        data=DataConfig(name="made", target="unseen"),
        algorithm=algorithm_config({"name": "iga"}),
        model=ModelConfig(**model),
        **values,
    )
    network = build_network(config.model, (32, 32, 3), CLASSES, seed=0).double()
    generator = np.random.default_rng(1)
    inputs = torch.from_numpy(generator.normal(size=(DOMAINS * ROWS, 3, 32, 32)))
    labels = generator.integers(CLASSES, size=DOMAINS * ROWS)
    layout = Layout.of(labels, np.repeat(np.arange(DOMAINS), ROWS), torch.device("cpu"))
    frequencies = np.full((DOMAINS, CLASSES), 1 / CLASSES)
    sources = SourceDomains(frequencies=frequencies, batch_size=ROWS, seed=0, num_features=network.num_features)
    step = Step(network, build_algorithm(config.algorithm, sources), config, CLASSES, Group())
    network.train()
    return _Walk(step, Batch(inputs=inputs, layout=layout), 0, lambda decays: None)


def length(values: list[Tensor]) -> float:
    return float(torch.cat([value.flatten() for value in values]).norm())


@pytest.mark.parametrize("model", NETWORKS, ids=lambda model: "-".join(map(str, model.values())))
def test_it_is_the_gradients_slope(model: dict[str, Any]) -> None:
    walk = walk_of(model)
    start = [parameter.clone() for parameter in walk.parameters]
    direction = walk.gradient(1)[1]
    found = walk.curvature(1, direction)
    ends, width = [], 1e-8 / length(direction)
    for side in (1, -1):
        walk.move_to([value + side * width * way for value, way in zip(start, direction, strict=True)])
        ends.append(walk.gradient(1)[1])
    expected = [(up - down) / (2 * width) for up, down in zip(*ends, strict=True)]
    apart = length([one - other for one, other in zip(found, expected, strict=True)])
    assert apart < 1e-4 * length(expected)
    assert length(expected) > 0


@pytest.mark.parametrize("micro_batch_size", [1, 3])
def test_micro_batches_give_the_same(micro_batch_size: int) -> None:
    whole, micro = walk_of(NETWORKS[0]), walk_of(NETWORKS[0], micro_batch_size=micro_batch_size)
    direction = whole.gradient(0)[1]
    first, second = whole.curvature(0, direction), micro.curvature(0, direction)
    assert length([one - other for one, other in zip(first, second, strict=True)]) < 1e-10 * length(first)


def test_of_no_rows_risk_and_gradient_are_0() -> None:
    walk = walk_of(NETWORKS[0])
    risk, gradient = walk.gradient(0, slice(2, 2))
    assert risk.item() == 0
    assert length(gradient) == 0
    whole, part = walk.gradient(0)[1], [walk.gradient(0, rows)[1] for rows in (slice(0, 1), slice(1, 4))]
    mean = [(first + 3 * second) / 4 for first, second in zip(*part, strict=True)]
    assert length([one - other for one, other in zip(whole, mean, strict=True)]) < 1e-12 * length(whole)
