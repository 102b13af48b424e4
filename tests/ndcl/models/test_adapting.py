"""Few parameters that learn: which ones, exactly in all modes, whole in checkpoints, merged when exported."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ndcl.compatibility import require_fit, require_steps
from ndcl.config import ModelConfig
from ndcl.errors import UserError
from ndcl.models import Network, build_network
from ndcl.models.adapting import merge
from ndcl.serving import FORMATS, Model, export
from ndcl.training import Training, train
from tests.made.made_photos import make_photos, photo_config
from tests.ndcl.training.test_step import Case, close, config_of

torch.set_num_threads(1)
SHAPE = (32, 32, 3)
BACKBONES = ["vit_b_32", "swin_t"]


def network_for(backbone: str, **values: Any) -> Network:
    return build_network(ModelConfig(backbone=backbone, **values), SHAPE, 6, seed=0)


def learning(network: nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_lora_begins_as_the_network_itself_and_changes_attention_alone(backbone: str) -> None:
    plain, adapted = network_for(backbone).eval(), network_for(backbone, train="lora", lora_rank=2).eval()
    images = torch.randn((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(adapted[0](images), plain[0](images))
    names = learning(adapted) - {"1.weight", "1.bias"}
    assert names
    assert all(
        (name.endswith((".0.a_weight", ".0.b_weight")) and "attn" in name) or "self_attention" in name for name in names
    )
    assert sum(p.numel() for p in adapted.parameters() if p.requires_grad) < 0.02 * sum(
        p.numel() for p in plain.parameters()
    )
    stages = adapted.stages()
    assert sorted(id(p) for stage in stages for p in stage) == sorted(id(p) for p in adapted.parameters())


def test_a_change_is_alpha_over_rank_times_b_a_and_merges() -> None:
    network = network_for("vit_b_32", train="lora", lora_rank=2, lora_alpha=6.0).eval()
    attention = network[0].backbone.encoder.layers[0].self_attention
    change, original = attention.parametrizations.in_proj_weight[0], attention.parametrizations.in_proj_weight.original
    with torch.no_grad():
        change.b_weight.normal_()
    torch.testing.assert_close(attention.in_proj_weight, original + 3.0 * change.b_weight @ change.a_weight)
    images = torch.randn((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = network(images)
        merge(network)
        torch.testing.assert_close(network(images), before)
    assert set(network.state_dict()) == set(network_for("vit_b_32").state_dict())


def test_norms_and_head() -> None:
    names = learning(network_for("vit_b_32", train="norms"))
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in names - {"1.weight", "1.bias"}} == {
        "ln",
        "ln_1",
        "ln_2",
    }
    network = network_for("resnet18", train="head").train()
    assert learning(network) == {"1.weight", "1.bias"}
    assert not any(layer.training for layer in network.batchnorms)
    scales = learning(network_for("resnet18", train="norms"))
    assert len(scales) == 2 * len(network.batchnorms) + 2


@pytest.mark.parametrize("train", ["head", "norms", "lora"])
@pytest.mark.parametrize("values", [{"micro_batch_size": 4}, {"activation_checkpointing": True}])
def test_pieces_give_the_gradient_of_the_whole(train: str, values: dict[str, Any]) -> None:
    model = {"backbone": "timm:test_vit", "train": train, "lora_rank": 2, "dropout": 0.2}
    whole, parts = (Case(config_of(model=model, **each), 3, shape=SHAPE) for each in ({}, values))
    expected = whole.gradient()
    assert close(parts.gradient(), expected)
    assert len(expected) == sum(p.numel() for p in whole.network.parameters() if p.requires_grad)


@pytest.mark.parametrize("train_what", ["head", "norms", "lora"])
def test_trained_resumed_and_exported(train_what: str, tmp_path: Path) -> None:
    store = make_photos(tmp_path / "photos", "raw")
    config = photo_config(
        store,
        data={"image_size": 32},
        model={"backbone": "timm:test_vit", "train": train_what, "lora_rank": 2},
        batch_size=3,
        num_steps=4,
        evaluate_every=2,
    )
    first = {key: value.clone() for key, value in Training(config).network.state_dict().items()}
    straight = Training(config)
    [*_] = straight.evaluations()
    next(iter(train(config, tmp_path / "kept")))
    [*_] = train(config, tmp_path / "kept")
    checkpoint = next((tmp_path / "kept").glob("step-*"))
    resumed = Training(config)
    resumed.load(checkpoint)
    after = straight.network.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in resumed.network.state_dict().items())
    changed = {key for key in after if not torch.equal(after[key], first[key])}
    assert changed == learning(straight.network), "what does not learn stays as it was"
    rows = straight.problem.target_test
    straight.network.load_state_dict(resumed.best["network"])
    for form in FORMATS:
        export(checkpoint, tmp_path / form, form)
        model = Model.load(tmp_path / form)
        assert model.description.model.train == "all"
        found = model.logits(model.prepare(store.inputs(rows)))
        torch.testing.assert_close(found, straight.logits(rows), rtol=1e-4, atol=1e-4)


def test_mistakes_are_one_line() -> None:
    for values, message in (
        ({"backbone": "small_cnn", "train": "norms"}, r"model\.train: 'small_cnn' has no norms"),
        (
            {"backbone": "resnet18", "train": "lora"},
            r"model\.train: lora changes .* 'resnet18' has none; set all",
        ),
    ):
        with pytest.raises(UserError, match=message):
            require_fit(ModelConfig(**values), (64, 64, 3))
    with pytest.raises(UserError, match="lora_rank: 0 is out of range"):
        ModelConfig(lora_rank=0)
    with pytest.raises(UserError, match=r"lora_alpha: 0\.0 is out of range"):
        ModelConfig(lora_alpha=0.0)


def test_with_the_head_alone_batchnorm_may_be_in_pieces() -> None:
    require_steps(config_of(model={"backbone": "resnet18", "train": "head"}, micro_batch_size=2), on_several=True)
    with pytest.raises(UserError, match=r"model\.freeze_batchnorm: false works with one worker only"):
        require_steps(config_of(model={"backbone": "resnet18", "train": "norms"}, micro_batch_size=2), on_several=True)


def test_changes_decay_as_weights_and_averages_of_them_are_exported(tmp_path: Path) -> None:
    store = make_photos(tmp_path / "photos", "raw")
    config = photo_config(
        store,
        data={"image_size": 32},
        model={"backbone": "timm:test_vit", "train": "lora", "lora_rank": 2},
        optimizer={"name": "adamw", "weight_decay": 0.1, "weight_decay_of": "weights"},
        averaging={"name": "ema"},
        batch_size=3,
        num_steps=4,
        evaluate_every=2,
    )
    training = Training(config)
    decaying = {id(p) for p in training.optimizer.param_groups[0]["params"]}
    names = {name for name, p in training.network.named_parameters() if id(p) in decaying}
    assert names == learning(training.network) - {"1.bias"}
    [*_] = train(config, tmp_path / "kept")
    export(next((tmp_path / "kept").glob("step-*")), tmp_path / "model")
    assert Model.load(tmp_path / "model").predict(store.inputs(training.problem.target_test[:2])).names
