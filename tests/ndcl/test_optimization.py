"""Learning rates by stage, frozen stages, and the size of the images, in whole trainings."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ndcl.config import ModelConfig, OptimizerConfig, TrainConfig
from ndcl.data.store import Store
from ndcl.errors import UserError
from ndcl.features import NOTE, embed
from ndcl.models import build_network
from ndcl.optimization import parameter_groups
from ndcl.training import Training
from tests.ndcl.made_store import make_store

torch.set_num_threads(1)
COUNTS = np.full((3, 3), 5)


def config_for(store: Store, **values: Any) -> TrainConfig:
    base: dict[str, Any] = {
        "data": {"name": store.folder.name, "target": "photo", "folder": str(store.folder.parent), "workers": 0},
        "algorithm": {"name": "ndcl"},
        "imbalance": {"setting": "natural", "validation": 1},
        "batch_size": 3,
        "num_steps": 4,
        "evaluate_every": 2,
        "device": "cpu",
    }
    return TrainConfig.from_dict(base | values)


def stages_of(training: Training) -> list[list[torch.Tensor]]:
    return [[p.detach().clone() for p in stage] for stage in training.network.stages()]


def test_by_default_there_is_one_group_of_all_parameters_in_order() -> None:
    network = build_network(ModelConfig(backbone="resnet18"), (64, 64, 3), 6, seed=0)
    (group,) = parameter_groups(network, OptimizerConfig(learning_rate=3e-3))
    assert group["lr"] == 3e-3
    assert [id(p) for p in group["params"]] == [id(p) for p in network.parameters()]


def test_each_stage_has_its_rate_and_frozen_ones_have_none() -> None:
    model = ModelConfig(backbone="resnet18", freeze_stages=2)
    network = build_network(model, (64, 64, 3), 6, seed=0)
    groups = parameter_groups(network, OptimizerConfig(learning_rate=1e-2, layer_decay=0.5))
    assert [group["lr"] for group in groups] == [1e-2, 5e-3, 2.5e-3, 1.25e-3]
    stages = network.stages()
    assert [[id(p) for p in group["params"]] for group in groups] == [[id(p) for p in s] for s in stages[:1:-1]]
    (single,) = parameter_groups(network, OptimizerConfig(learning_rate=1e-2))
    assert {id(p) for p in single["params"]} == {id(p) for stage in stages[2:] for p in stage}


def test_a_head_alone_is_trained_alike_with_any_decay() -> None:
    network = build_network(ModelConfig(backbone="linear"), (5,), 6, seed=0)
    one, other = (parameter_groups(network, OptimizerConfig(layer_decay=decay)) for decay in (1.0, 0.5))
    assert one == other


def test_stages_move_as_fast_as_their_rates(tmp_path: Path) -> None:
    store = make_store(tmp_path / "images", COUNTS, shape=(12, 12, 3))
    optimizer = {"learning_rate": 0.01, "layer_decay": 0.5}
    training = Training(config_for(store, optimizer=optimizer, num_steps=1, evaluate_every=1))
    before = stages_of(training)
    next(training.evaluations())
    for depth, (old, new) in enumerate(zip(before[::-1], stages_of(training)[::-1], strict=True)):
        moved = max(float((b - a).abs().max()) for a, b in zip(old, new, strict=True))
        assert moved == pytest.approx(0.01 * 0.5**depth, rel=1e-3), "Adam's first step is as long as the rate"


def test_frozen_stages_stay_and_a_resumed_training_ends_bit_identical(tmp_path: Path) -> None:
    store = make_store(tmp_path / "images", COUNTS, shape=(12, 12, 3))
    values = {"model": {"freeze_stages": 1}, "optimizer": {"layer_decay": 0.7}}
    whole, first, second = (Training(config_for(store, **values)) for _ in range(3))
    before = stages_of(whole)
    expected = [e.losses for e in whole.evaluations()]
    after = stages_of(whole)
    kept = [all(map(torch.equal, old, new)) for old, new in zip(before, after, strict=True)]
    assert kept == [True, False, False, False]
    next(first.evaluations())
    first.save(tmp_path / "checkpoint")
    second.load(tmp_path / "checkpoint")
    assert [e.losses for e in second.evaluations()] == expected[1:]
    assert all(map(torch.equal, itertools.chain(*stages_of(second)), itertools.chain(*after)))


def test_blocks_left_out_at_random_depend_on_the_seed_and_the_step_alone(tmp_path: Path) -> None:
    store = make_store(tmp_path / "images", COUNTS, shape=(12, 12, 3))
    data = {"name": "images", "target": "photo", "folder": str(tmp_path), "workers": 0, "image_size": 32}
    config = config_for(store, data=data, model={"backbone": "efficientnet_b0"}, num_steps=2, evaluate_every=1)
    first, second = Training(config), Training(config)
    torch.manual_seed(1)
    losses = [e.losses for e in first.evaluations()]
    torch.manual_seed(2)
    assert [e.losses for e in second.evaluations()] == losses


@pytest.mark.parametrize(("image_size", "expected"), [(None, 224), (40, 40)])
def test_images_have_the_size_that_the_backbone_was_made_for(
    tmp_path: Path, image_size: int | None, expected: int
) -> None:
    store = make_store(tmp_path / "images", COUNTS, shape=(12, 16, 3))
    data = {"name": "images", "target": "photo", "folder": str(tmp_path), "workers": 0, "image_size": image_size}
    training = Training(config_for(store, data=data, model={"backbone": "efficientnet_b0"}))
    assert training.batch(0).inputs.shape == (6, 3, expected, expected)
    (images,) = training.loader.evaluation_inputs(np.arange(2))
    assert images.shape == (2, 3, expected, expected)


def test_features_are_made_of_images_of_that_size(tmp_path: Path) -> None:
    store = make_store(tmp_path / "images", np.ones((3, 3), int), shape=(12, 16, 3))
    list(embed(store, tmp_path / "vectors", ModelConfig(backbone="efficientnet_b0")))
    assert Store(tmp_path / "vectors").notes[NOTE]["image_size"] == [224, 224]


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("model", {"freeze_stages": -1}, "model.freeze_stages: -1 is out of range"),
        ("model", {"freeze_stages": 4}, r"model.freeze_stages: 'small_cnn' has 3 stages before its head"),
        ("optimizer", {"layer_decay": 0}, "optimizer.layer_decay: 0.0 is out of range"),
        ("optimizer", {"layer_decay": 1.1}, "optimizer.layer_decay: 1.1 is out of range"),
    ],
)
def test_mistakes(tmp_path: Path, part: str, values: dict[str, Any], message: str) -> None:
    store = make_store(tmp_path / "images", COUNTS, shape=(12, 12, 3))
    with pytest.raises(UserError, match=message):
        Training(config_for(store, **{part: values}))
