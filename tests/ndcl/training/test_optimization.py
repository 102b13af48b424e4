"""Learning rates by stage, frozen stages, and the size of the images, in whole trainings."""

import itertools
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor

from ndcl.config import ModelConfig, OptimizerConfig, TrainConfig
from ndcl.data import Store
from ndcl.errors import UserError
from ndcl.features import NOTE, embed
from ndcl.models import build_network
from ndcl.training import Training
from ndcl.training.optimization import parameter_groups, rate_factor
from tests.made.made_store import make_store

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


def test_with_weights_alone_biases_norms_and_embeddings_do_not_decay() -> None:
    for backbone, size, kept in (("resnet18", 64, ("bn", "bias")), ("vit_b_32", 224, ("token", "pos_", "ln", "bias"))):
        network = build_network(ModelConfig(backbone=backbone), (size, size, 3), 6, seed=0)
        recipe = OptimizerConfig(weight_decay=0.1, weight_decay_of="weights", layer_decay=0.5)
        optimizer = torch.optim.AdamW(parameter_groups(network, recipe), weight_decay=recipe.weight_decay)
        decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
        rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
        for name, parameter in network.named_parameters():
            spared = any(part in name for part in kept) or name.endswith("downsample.1.weight")
            assert decays[id(parameter)] == (0.0 if spared else 0.1), name
        for depth, stage in enumerate(network.stages()[::-1]):
            assert {rates[id(p)] for p in stage} == {1e-3 * 0.5**depth}
        assert len(decays) == len(list(network.parameters()))


RECIPES: list[dict[str, Any]] = [
    {"name": "adam", "weight_decay": 0.1},
    {"name": "adamw", "weight_decay": 0.1, "schedule": "cosine"},
    {"name": "sgd", "weight_decay": 0.1, "schedule": "linear", "warmup_steps": 3},
    {"name": "sgd", "nesterov": True, "momentum": 0.8, "gradient_clip_norm": 0.01},
    {"name": "adam", "schedule": "cosine", "warmup_steps": 2, "gradient_clip_norm": 0.01},
    {"name": "adamw", "weight_decay": 0.5, "weight_decay_of": "weights"},
]


def reference(config: TrainConfig, steps: int) -> list[torch.Tensor]:
    """The parameters after steps by torch's own optimisers, schedulers and clipping."""
    recipe, training = config.optimizer, Training(config)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[recipe.name]
    more = {"momentum": recipe.momentum, "nesterov": recipe.nesterov} if recipe.name == "sgd" else {}
    parameters = list(training.network.parameters())
    spared = [p for p in parameters if p.ndim == 1] if recipe.weight_decay_of == "weights" else []
    decaying = [p for p in parameters if not any(p is other for other in spared)]
    groups = [{"params": decaying}, {"params": spared, "weight_decay": 0.0}]
    optimizer = kind(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, **more)
    warm, rest = recipe.warmup_steps, config.num_steps - recipe.warmup_steps
    after = {
        "constant": lambda: torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0),
        "cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, rest),
        "linear": lambda: torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, rest),
    }[recipe.schedule]()
    schedulers = [torch.optim.lr_scheduler.LinearLR(optimizer, 1 / warm, 1.0, warm - 1)] if warm > 1 else []
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [*schedulers, after], [warm] if schedulers else [])
    training.network.train()
    for step in range(steps):
        optimizer.zero_grad()
        training.algorithm(training.network, training.batch(step), step).total.backward()
        if recipe.gradient_clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters, recipe.gradient_clip_norm)
        optimizer.step()
        schedule.step()
    return [parameter.detach() for parameter in parameters]


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_a_recipe_is_what_torch_makes_of_it(recipe: dict[str, Any], tmp_path: Path) -> None:
    store = make_store(tmp_path / "set", COUNTS, shape=(7,))
    model = {"backbone": "mlp", "mlp_width": 8}
    config = config_for(store, optimizer={"learning_rate": 0.01, **recipe}, model=model, num_steps=8)
    training = Training(config)
    list(training.evaluations())
    for found, expected in zip(training.network.parameters(), reference(config, 8), strict=True):
        torch.testing.assert_close(found.detach(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("recipe", RECIPES[1:], ids=str)
def test_a_recipe_goes_on_as_if_never_stopped(recipe: dict[str, Any], tmp_path: Path) -> None:
    store = make_store(tmp_path / "set", COUNTS, shape=(7,))
    model = {"backbone": "mlp", "mlp_width": 8}
    config = config_for(store, optimizer={"learning_rate": 0.01, **recipe}, model=model, num_steps=8)
    whole, first, second = Training(config), Training(config), Training(config)
    list(whole.evaluations())
    for _, _ in zip(range(2), first.evaluations(), strict=False):
        first.save(tmp_path / f"step-{first.step:08d}")
    second.load(tmp_path / "step-00000004")
    list(second.evaluations())
    for a, b in zip(whole.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_rate_that_falls_can_not_be_made_to_fall_later(tmp_path: Path) -> None:
    store = make_store(tmp_path / "set", COUNTS, shape=(7,))
    values = {"optimizer": {"schedule": "cosine"}, "model": {"backbone": "linear"}}
    training = Training(config_for(store, **values))
    list(training.evaluations())
    training.save(tmp_path / "end")
    with pytest.raises(UserError, match="made with num_steps = 4, but the config says 8"):
        Training(config_for(store, **values, num_steps=8)).load(tmp_path / "end")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"momentum": 1.0}, "momentum: 1.0 is out of range"),
        ({"name": "sgd", "momentum": 0.0, "nesterov": True}, "nesterov: it needs a momentum above 0"),
        ({"gradient_clip_norm": 0.0}, "gradient_clip_norm: 0.0 is out of range"),
        ({"warmup_steps": -1}, "warmup_steps: -1 is out of range"),
        ({"schedule": "step"}, "schedule: 'step' is not valid; choose one of constant, cosine, linear"),
    ],
)
def test_recipes_that_make_no_sense(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TrainConfig.from_dict(
            {"data": {"name": "digits", "target": "sign"}, "algorithm": {"name": "erm"}, "optimizer": values}
        )


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


def test_the_head_alone_is_trained_first_as_with_a_frozen_backbone(tmp_path: Path) -> None:
    store = make_store(tmp_path / "images", COUNTS, shape=(12, 12, 3))
    recipe = {"learning_rate": 0.01, "gradient_clip_norm": 0.1}
    values = {"num_steps": 6, "evaluate_every": 1, "optimizer": recipe}
    first = Training(config_for(store, **values, model={"head_warmup_steps": 4, "dropout": 0.2}))
    frozen = Training(config_for(store, **values, model={"freeze_stages": 3, "dropout": 0.2}))
    begun = stages_of(first)
    for step, _ in enumerate(zip(first.evaluations(), frozen.evaluations(), strict=True), start=1):
        now = stages_of(first)
        moved = [not all(map(torch.equal, old, new)) for old, new in zip(begun, now, strict=True)]
        assert moved == [*[step > 4] * 3, True]
        heads = zip(now[-1], stages_of(frozen)[-1], strict=True)
        assert all(torch.equal(ours, theirs) for ours, theirs in heads) is (step <= 4)


@pytest.mark.parametrize("algorithm", ["erm", "balanced_softmax"])
def test_trainings_of_several_seeds_begin_all_steps_with_one_head(tmp_path: Path, algorithm: str) -> None:
    """The probe of its first steps has the same batches, augmentation and dropout, and no later step has."""
    store = make_store(tmp_path / "images", COUNTS, shape=(12, 12, 3))
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "weights.pt")
    pretrained = {"backbone": "resnet18", "weights": str(tmp_path / "weights.pt")}
    model = {"head_warmup_steps": 2, "head_seed": 7, "dropout": 0.5, **pretrained}
    data = {"name": "images", "target": "photo", "folder": str(tmp_path), "workers": 0, "augment": "trivial"}
    values = {"num_steps": 3, "evaluate_every": 1, "data": data, "algorithm": {"name": algorithm}}
    first, second = (Training(config_for(store, **values, model=model, seed=seed)) for seed in (1, 2))
    for step, (one, other) in enumerate(zip(first.evaluations(), second.evaluations(), strict=True), start=1):
        both = zip(first.network.parameters(), second.network.parameters(), strict=True)
        assert all(map(torch.equal, *zip(*both, strict=True))) is (step <= 2)
        assert (one.losses == other.losses) is (step <= 2)


def test_a_head_of_its_own_seed_leaves_the_backbone_as_it_was(tmp_path: Path) -> None:
    store = make_store(tmp_path / "images", COUNTS, shape=(12, 12, 3))
    plain, shared = (stages_of(Training(config_for(store, model=model))) for model in ({}, {"head_seed": 7}))
    same = [all(map(torch.equal, one, other)) for one, other in zip(plain, shared, strict=True)]
    assert same == [*[True] * (len(same) - 1), False]


@pytest.mark.parametrize("stop", [2, 4])
def test_a_training_resumed_with_the_head_alone_ends_bit_identical(stop: int, tmp_path: Path) -> None:
    store = make_store(tmp_path / "images", COUNTS, shape=(12, 12, 3))
    config = config_for(store, num_steps=6, evaluate_every=2, model={"head_warmup_steps": 3})
    whole, first, second = (Training(config) for _ in range(3))
    expected = [e.losses for e in whole.evaluations()]
    next(e for e in first.evaluations() if e.step == stop)
    first.save(tmp_path / "checkpoint")
    second.load(tmp_path / "checkpoint")
    assert [e.losses for e in second.evaluations()] == expected[stop // 2 :]
    assert all(map(torch.equal, itertools.chain(*stages_of(second)), itertools.chain(*stages_of(whole))))


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
        ("model", {"head_warmup_steps": -1}, "model.head_warmup_steps: -1 is out of range"),
        ("model", {"freeze_stages": 4}, r"model.freeze_stages: 'small_cnn' has 3 stages before its head"),
        ("optimizer", {"layer_decay": 0}, "optimizer.layer_decay: 0.0 is out of range"),
        ("optimizer", {"layer_decay": 1.1}, "optimizer.layer_decay: 1.1 is out of range"),
    ],
)
def test_mistakes(tmp_path: Path, part: str, values: dict[str, Any], message: str) -> None:
    store = make_store(tmp_path / "images", COUNTS, shape=(12, 12, 3))
    with pytest.raises(UserError, match=message):
        Training(config_for(store, **{part: values}))


def test_a_penalty_that_begins_at_a_share_fixes_the_length(tmp_path: Path) -> None:
    store = make_store(tmp_path / "set", COUNTS, shape=(7,))

    def training(steps: int, **values: Any) -> Training:
        algorithm, model = {"name": "irm", **values}, {"backbone": "linear"}
        return Training(config_for(store, algorithm=algorithm, model=model, num_steps=steps))

    for name, values in {"share": {}, "step": {"penalty_from_step": 2}}.items():
        first = training(4, **values)
        list(first.evaluations())
        first.save(tmp_path / name)
    with pytest.raises(UserError, match=r"num_steps = 4, but .* 8, and algorithm.penalty_from_share goes by it"):
        training(8).load(tmp_path / "share")
    longer = training(8, penalty_from_step=2)
    longer.load(tmp_path / "step")
    assert [each.step for each in longer.evaluations()] == [6, 8]


def test_what_a_population_takes_over_keeps_the_optimisers_own_betas(tmp_path: Path) -> None:
    store = make_store(tmp_path / "set", COUNTS, shape=(7,))
    model = {"backbone": "mlp", "mlp_width": 8}
    first, other = (
        Training(config_for(store, model=model, algorithm={"name": "dann", "beta1": beta1})) for beta1 in (0.5, 0.0)
    )
    first.save(tmp_path / "start")
    other.load(tmp_path / "start", take_over=True)
    for optimizer in (other.optimizer, other.own_optimizer):
        assert optimizer is not None
        assert [tuple(group["betas"]) for group in optimizer.param_groups] == [(0.0, 0.9)]


@pytest.mark.parametrize("name", ["dann", "sag_net"])
def test_networks_of_an_algorithm_follow_the_schedule(tmp_path: Path, name: str) -> None:
    values = {"num_steps": 8, "evaluate_every": 8, "optimizer": {"schedule": "linear", "warmup_steps": 2}}
    store = make_store(tmp_path / "set", COUNTS, shape=(8, 8, 3))
    training = Training(config_for(store, **values, algorithm={"name": name}))
    own, recipe = training.own_optimizer, training.algorithm.own_optimizer
    assert own is not None
    assert recipe is not None
    seen: list[tuple[int, float]] = []
    own.register_step_pre_hook(lambda *_: seen.append((training.step, own.param_groups[0]["lr"])))
    list(training.evaluations())
    assert seen == [(at, recipe.learning_rate * rate_factor(training.config.optimizer, at, 8)) for at, _ in seen]
    assert len({rate for _, rate in seen}) > 2


def test_the_gradient_of_networks_of_an_algorithm_is_part_of_the_whole(tmp_path: Path) -> None:
    store = make_store(tmp_path / "set", COUNTS, shape=(7,))
    recipe = {"learning_rate": 0.01, "gradient_clip_norm": 1e-3}
    training = Training(config_for(store, algorithm={"name": "self_reg"}, optimizer=recipe, model={"backbone": "mlp"}))
    parameters = [*training.network.parameters(), *training.algorithm.parameters()]
    lengths: list[float] = []
    training.optimizer.register_step_pre_hook(
        lambda *_: lengths.append(float(torch.nn.utils.get_total_norm([cast(Tensor, p.grad) for p in parameters])))
    )
    training.train_until(2)
    assert lengths == pytest.approx([1e-3, 1e-3], rel=1e-3)
