"""One contract for every backbone, on the meta device where it is large; what is frozen; BatchNorm in two forwards."""

import contextlib
import re
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from ndcl.architectures import ARCHITECTURES, PRETRAINED
from ndcl.blocks import attention_weights, blocks, norms
from ndcl.compatibility import require_fit, require_steps
from ndcl.config import ModelConfig, TrainConfig
from ndcl.errors import UserError
from ndcl.models import BACKBONES, Network, build_network
from ndcl.models.families import FAMILY_OF
from ndcl.strict import to_dict

torch.set_num_threads(1)
GUIDE = (Path(__file__).parents[3] / "docs" / "backbones.md").read_text()
OWN_SHAPES = {"small_cnn": (28, 28, 3), "linear": (12,), "mlp": (12,)}
COMPUTED = {
    **OWN_SHAPES,
    **dict.fromkeys(("resnet18", "resnet50", "resnext50_32x4d", "regnet_y_400mf", "efficientnet_b0"), (64, 64, 3)),
    **dict.fromkeys(("convnext_tiny", "swin_t", "swin_v2_t"), (64, 64, 3)),
    "vit_b_32": (224, 224, 3),
}
"""The smallest of each kind, which are also computed; the others are built and run on the meta device alone."""
LIGHT = sorted(set(COMPUTED) - {"vit_b_32", "resnet50", "convnext_tiny", "swin_t", "swin_v2_t", "resnext50_32x4d"})
"""Those that are built in a moment."""
QUICK = {*COMPUTED, "regnet_x_400mf", "efficientnet_v2_s"}
"""At least one of each family; the other sizes differ in depth and width."""


def shape_of(name: str) -> tuple[int, ...]:
    """What the backbone is given if the config says nothing of the size, of photographs."""
    size = ModelConfig(backbone=name).image_size or 224
    return OWN_SHAPES.get(name, (size, size, 3))


def inputs_of(shape: tuple[int, ...], rows: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    size = (rows, *shape) if len(shape) == 1 else (rows, 3, *shape[:2])
    return torch.randn(size, generator=generator)


def inputs_for(name: str, rows: int = 4) -> torch.Tensor:
    return inputs_of(COMPUTED[name], rows)


def network_for(name: str, **values: object) -> Network:
    return build_network(ModelConfig(backbone=name, **values), COMPUTED[name], 6, seed=0)


@cache
def on_meta(name: str) -> Network:
    with torch.device("meta"):
        return build_network(ModelConfig(backbone=name, dropout=0.5), shape_of(name), 6, seed=0)


def each(names):
    """All of these, of which the long tests take what is not among the quick ones."""
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.soak) for name in sorted(names)]


def every_backbone(function):
    return pytest.mark.parametrize("name", each(BACKBONES))(function)


def test_the_quick_ones_have_every_family() -> None:
    kinds = r"convnext|efficientnet_(?:b|v2)|linear|mlp|regnet_[xy]|resnet|resnext|small_cnn|swin_v2|swin|vit"
    families, quick = ({re.match(kinds, name)[0] for name in names} for names in (BACKBONES, QUICK))
    assert families == quick


@every_backbone
def test_features_and_logits_have_their_shapes(name: str) -> None:
    network, inputs = on_meta(name), inputs_of(shape_of(name), 2).to("meta")
    features = network[0](inputs)
    assert features.shape == (2, network[0].num_features)
    assert network[1](features).shape == network(inputs).shape == (2, 6)
    assert isinstance(network[1], nn.Linear)


@every_backbone
def test_the_only_dropout_is_the_configured_one(name: str) -> None:
    network = on_meta(name)
    assert [m for m in network.modules() if isinstance(m, nn.Dropout) and m.p > 0] == [network[0].dropout]
    assert network[0].dropout.p == 0.5
    assert network.has_dropout


@every_backbone
def test_stages_hold_each_parameter_once_in_order(name: str) -> None:
    network = on_meta(name)
    stages = network.stages()
    assert all(stages), "no stage is empty"
    members = [id(p) for stage in stages for p in stage]
    assert sorted(members) == sorted(id(p) for p in network.parameters())
    assert stages[-1] == list(network[1].parameters())
    # a stage's first parameter comes into being before all of the next stage's
    position = {id(p): number for number, p in enumerate(network.parameters())}
    starts = [min(position[id(p)] for p in stage) for stage in stages]
    assert starts == sorted(starts)


def depths(network: nn.Module) -> list[float]:
    """Rates at which a network's blocks are left out, from the input on."""
    return [module.p for module in network.modules() if type(module).__name__ == "StochasticDepth"]


@pytest.mark.parametrize("name", [name for name, facts in ARCHITECTURES.items() if facts.has_stochastic_depth])
def test_stochastic_depth_is_set_in_proportion(name: str) -> None:
    with torch.device("meta"):
        own, set_, off = (
            depths(build_network(ModelConfig(backbone=name, stochastic_depth=rate), shape_of(name), 6, seed=0))
            for rate in (None, 0.5, 0.0)
        )
    assert max(set_) == 0.5
    assert set_ == pytest.approx([0.5 * rate / max(own) for rate in own])
    assert set(off) == {0.0}


def test_a_backbone_without_stochastic_depth_refuses_it() -> None:
    with pytest.raises(
        UserError, match=r"^model.stochastic_depth: 'resnet18' leaves out no blocks in training; remove"
    ):
        network_for("resnet18", stochastic_depth=0.1)
    with pytest.raises(UserError, match=r"^stochastic_depth: 1.0 is out of range; it must be in \[0, 1\), or null$"):
        ModelConfig(stochastic_depth=1.0)


@every_backbone
def test_the_table_has_its_batchnorm_and_its_blocks(name: str) -> None:
    network, facts = on_meta(name), ARCHITECTURES[name]
    assert facts.has_batchnorm == bool(network.batchnorms)
    assert facts.has_norms == bool(list(norms(network[0])))
    assert facts.has_attention == bool(list(attention_weights(network[0])))
    assert facts.has_blocks == bool(list(blocks(network[0])))
    assert facts.has_stochastic_depth == bool(depths(network))
    assert facts.takes_weights == (name in FAMILY_OF)


def test_the_table_has_every_backbone() -> None:
    assert set(ARCHITECTURES) == set(BACKBONES)


@every_backbone
@pytest.mark.parametrize("weights", ["none", "imagenet"])
def test_where_batchnorm_must_see_the_whole_batch_is_known_beforehand(name: str, weights: str) -> None:
    stages = len(on_meta(name).stages()) - 1
    for frozen in {0, stages // 2, stages}:
        model = ModelConfig(backbone=name, weights=weights, freeze_stages=frozen)
        network = Network(on_meta(name)[0], 6, model).train()
        network[0].requires_grad_(True)
        expected = any(layer.training for layer in network.batchnorms)
        config = TrainConfig.from_dict(
            {"data": {"name": "digits", "target": "sign"}, "algorithm": {"name": "erm"}, "model": to_dict(model)}
        )
        refused = contextlib.nullcontext()
        if expected:
            refused = pytest.raises(UserError, match=r"^model\.freeze_batchnorm: false works with one worker only")
        with refused:
            require_steps(config, on_several=True)
        require_steps(config, on_several=False)


@every_backbone
def test_batchnorm_is_frozen_with_weights_unless_the_config_says_otherwise(name: str) -> None:
    network = Network(on_meta(name)[0], 6, ModelConfig(backbone=name, weights="imagenet")).train()
    expected = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert network.batchnorms == expected
    assert bool(expected) == name.startswith(("res", "regnet", "efficientnet"))
    assert not any(layer.training for layer in expected)
    assert network[0].training
    for config, learns in (
        (ModelConfig(), True),  # from scratch it has no statistics to keep
        (ModelConfig(freeze_batchnorm=True), False),
        (ModelConfig(weights="imagenet", freeze_batchnorm=False), True),
    ):
        other = Network(network[0], 6, config).train()
        assert all(layer.training is learns for layer in other.batchnorms)


@every_backbone
def test_stages_are_frozen_from_the_input_on(name: str) -> None:
    backbone = on_meta(name)[0]
    number = len(backbone.stages())
    for frozen in {min(1, number), number}:
        stages = Network(backbone, 6, ModelConfig(freeze_stages=frozen)).stages()
        assert [{p.requires_grad for p in stage} for stage in stages] == [{k >= frozen} for k in range(number + 1)]
        backbone.requires_grad_(True)
    with pytest.raises(UserError, match=rf"model\.freeze_stages: '{name}' has {number} stages .* lower it"):
        require_fit(ModelConfig(backbone=name, freeze_stages=number + 1), shape_of(name))
    require_fit(ModelConfig(backbone=name, freeze_stages=number), shape_of(name))


@pytest.mark.parametrize("name", sorted(COMPUTED))
def test_gradients_reach_all_parameters(name: str) -> None:
    network = network_for(name)
    logits = network(inputs_for(name, 2))
    assert torch.isfinite(logits).all()
    (logits * torch.arange(6)).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    for stage in network.stages():
        assert any(p.grad.any() for p in stage)


@pytest.mark.parametrize("name", LIGHT)
def test_a_state_dict_makes_another_network_the_same(name: str) -> None:
    network = network_for(name).eval()
    other = build_network(ModelConfig(backbone=name), COMPUTED[name], 6, seed=1).eval()
    inputs = inputs_for(name, 2)
    with torch.no_grad():
        expected = network(inputs)
        assert not torch.equal(other(inputs), expected)
        other.load_state_dict(network.state_dict())
        assert torch.equal(other(inputs), expected)


@pytest.mark.parametrize("name", LIGHT)
def test_the_seed_alone_decides_the_initial_weights(name: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = network_for(name).state_dict()
    torch.rand(3)
    second = network_for(name).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    other = build_network(ModelConfig(backbone=name), COMPUTED[name], 6, seed=1).state_dict()
    assert not torch.equal(first["1.weight"], other["1.weight"])
    torch.set_rng_state(before)


def test_building_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    network_for("mlp")
    assert torch.equal(before, torch.get_rng_state())


@every_backbone
def test_whether_a_backbone_fits_is_known_without_weights(name: str) -> None:
    before = torch.get_rng_state()
    require_fit(ModelConfig(backbone=name, weights="/nowhere.pt" if name in PRETRAINED else "none"), shape_of(name))
    assert torch.equal(before, torch.get_rng_state())
    if len(shape_of(name)) == 3:
        with pytest.raises(UserError, match=rf"'{name}' needs images.* use 'linear' or 'mlp'"):
            require_fit(ModelConfig(backbone=name), (12,))


def test_a_linear_network_is_its_head_alone() -> None:
    network = network_for("linear")
    inputs = inputs_for("linear")
    assert torch.equal(network[0](inputs), inputs)
    assert [tuple(p.shape) for p in network.parameters()] == [(6, 12), (6,)]
    images = build_network(ModelConfig(backbone="linear"), (4, 5, 3), 6, seed=0)
    assert images(torch.zeros(2, 3, 4, 5)).shape == (2, 6)


def test_quirk_22_frozen_batchnorm_stays_as_it_was_and_still_learns_its_scale() -> None:
    network = network_for("resnet18", freeze_batchnorm=True)
    network.train()
    before = {key: value.clone() for key, value in network.state_dict().items() if "running" in key}
    network(inputs_for("resnet18")).sum().backward()
    network.forward_mixed(inputs_for("resnet18"))
    after = network.state_dict()
    assert before
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert network.batchnorms[0].weight.grad is not None


def test_quirk_22_mixed_rows_never_reach_the_running_statistics() -> None:
    network = network_for("resnet18", freeze_batchnorm=False)
    network.train()
    means = [layer.running_mean.clone() for layer in network.batchnorms]
    network.forward_mixed(inputs_for("resnet18"))
    assert all(torch.equal(a, layer.running_mean) for a, layer in zip(means, network.batchnorms, strict=True))
    assert all(layer.training for layer in network.batchnorms)
    network(inputs_for("resnet18"))
    assert not torch.equal(means[0], network.batchnorms[0].running_mean)


@pytest.mark.parametrize("name", ["resnet18", "small_cnn", "linear"])
def test_more_frozen_stages_than_there_are_is_a_mistake(name: str) -> None:
    with pytest.raises(UserError, match=r"model\.freeze_stages"):
        require_fit(ModelConfig(backbone=name, freeze_stages=6), COMPUTED[name])
    with pytest.raises(UserError, match=r"model\.freeze_stages"):
        network_for(name, freeze_stages=6)


def test_frozen_stages_keep_weights_and_statistics_while_the_rest_learns() -> None:
    network = network_for("resnet18", freeze_stages=2, freeze_batchnorm=False)
    network.train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimizer = torch.optim.Adam(p for p in network.parameters() if p.requires_grad)
    network(inputs_for("resnet18")).square().sum().backward()
    optimizer.step()
    after = network.state_dict()
    moved = {key.split(".")[2] for key in after if key.startswith("0.") and not torch.equal(after[key], before[key])}
    assert moved == {"layer2", "layer3", "layer4"}


def test_dropout_is_known_to_the_network() -> None:
    assert network_for("mlp", dropout=0.1).has_dropout
    assert not network_for("mlp").has_dropout
    assert network_for("efficientnet_b0").has_dropout, "its blocks are left out at random"


def test_dropout_comes_before_the_head() -> None:
    network = network_for("regnet_y_400mf", dropout=0.5, freeze_batchnorm=True).train()
    inputs = inputs_for("regnet_y_400mf")
    torch.manual_seed(0)
    dropped = (network[0](inputs) == 0).float().mean()
    whole = (network.eval()[0](inputs) == 0).float().mean()
    assert 0.4 < dropped - whole < 0.6


@pytest.mark.parametrize("name", each(PRETRAINED))
def test_images_of_other_sizes_are_taken_or_refused_in_one_line(name: str) -> None:
    size = shape_of(name)[0]
    if name.startswith("vit"):
        for shape, found in (((256, 224, 3), "256 x 224"), ((100, 100, 3), "100 x 100")):
            with pytest.raises(
                UserError, match=rf"'{name}' takes square images of whole patches .* got {found}; remove"
            ):
                require_fit(ModelConfig(backbone=name), shape)
        patch = int(name[-2:])
        shape = (size + 2 * patch, size + 2 * patch, 3)
        require_fit(ModelConfig(backbone=name), shape)
        with torch.device("meta"):
            larger = build_network(ModelConfig(backbone=name), shape, 6, seed=0)
            assert larger(torch.empty(2, 3, *shape[:2])).shape == (2, 6)
        return
    least = 32 if name.startswith("convnext") else 8
    network = on_meta(name).eval()
    assert network(torch.empty(2, 3, least, least, device="meta")).shape == (2, 6)
    if least > 8:
        with pytest.raises(UserError, match=rf"'{name}' needs images of at least 32 x 32, got 31 x 64; set it"):
            require_fit(ModelConfig(backbone=name), (31, 64, 3))
        with pytest.raises(RuntimeError):
            network(torch.empty(2, 3, 31, 64, device="meta"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"backbone": "resnet19"}, "unknown backbone 'resnet19'; did you mean 'resnet18'"),
        ({"backbone": "mlp", "weights": "imagenet"}, "takes no weights"),
        ({"backbone": "small_cnn"}, "needs images"),
    ],
)
def test_mistakes(values: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        require_fit(ModelConfig(**values), (12,))  # what a plan asks
    with pytest.raises(UserError, match=message):
        build_network(ModelConfig(**values), (12,), 3, seed=0)


@pytest.mark.parametrize("name", each(PRETRAINED))
def test_the_guide_says_how_large_it_is(name: str) -> None:
    network = on_meta(name)
    millions = sum(p.numel() for p in network[0].parameters()) / 1e6
    size = ModelConfig(backbone=name).image_size or "stored"
    assert f"| `{name}` | {millions:.1f} | {size} | {len(network.stages()) - 1} |" in GUIDE


@pytest.mark.parametrize("block", GUIDE.split("```yaml\n")[1:], ids=range(GUIDE.count("```yaml\n")))
def test_the_guides_settings_can_be_built(block: str) -> None:
    values = yaml.safe_load(block.split("```")[0])
    data = {"name": "pacs", "target": "sketch"} | values.get("data", {})
    config = TrainConfig.from_dict({"data": data, "algorithm": {"name": "ndcl"}} | values["train"])
    size = config.image_size or 224
    require_fit(config.model, (size, size, 3))
