"""A backbone that sees what the rows of an image's domain have in common."""

from typing import Any

import pytest
import torch
from torch import nn

from ndcl.algorithm_configs import Context
from ndcl.config import ModelConfig
from ndcl.errors import UserError
from ndcl.models import Network, build_network, empty_network, put_in_context, put_in_context_of
from ndcl.models.context import MOMENTUM, InContext
from ndcl.models.renormalize import Renormalize

DOMAINS, ROWS = 3, 4
SHAPES = {
    **{"small_cnn": (16, 12, 3), "resnet18": (32, 32, 3), "vit_b_16": (32, 32, 3), "swin_t": (32, 32, 3)},
    **{"convnext_tiny": (32, 32, 3), "efficientnet_b0": (32, 32, 3), "timm:test_vit": (32, 32, 3)},
}


def network_of(backbone: str = "small_cnn", context: Context | None = None, **values: Any) -> Network:
    network = build_network(ModelConfig(backbone=backbone, **values), SHAPES[backbone], 5, seed=0)
    put_in_context(network, SHAPES[backbone], context or Context(width=4), num_domains=DOMAINS)
    return network


def images(backbone: str = "small_cnn") -> torch.Tensor:
    height, width, channels = SHAPES[backbone]
    return torch.randn(DOMAINS * ROWS, channels, height, width, generator=torch.Generator().manual_seed(1))


def inside(network: Network) -> InContext:
    found = network[0]
    assert isinstance(found, InContext)
    return found


@pytest.mark.parametrize("backbone", SHAPES)
def test_before_any_step_an_image_alone_is_seen_as_without_a_context(backbone: str) -> None:
    plain = build_network(ModelConfig(backbone=backbone), SHAPES[backbone], 5, seed=0).eval()
    inputs = images(backbone)
    torch.testing.assert_close(network_of(backbone).eval()(inputs), plain(inputs), rtol=1e-4, atol=1e-5)


def test_a_row_sees_the_mean_of_its_domain_and_of_no_other() -> None:
    network, inputs = network_of().train(), images()
    seen: list[torch.Tensor] = []
    inside(network).body.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network(inputs)
    [given] = seen
    maps = inside(network).context(inputs)
    for domain in range(DOMAINS):
        rows = slice(domain * ROWS, (domain + 1) * ROWS)
        torch.testing.assert_close(given[rows, :3], inputs[rows])
        for row in given[rows]:
            torch.testing.assert_close(row[3:], maps[rows].mean(dim=0))


def test_the_running_mean_follows_the_source_domains_and_answers_for_an_image_alone() -> None:
    network, inputs = network_of().train(), images()
    network(inputs)
    mean = inside(network).context(inputs).mean(dim=0)
    torch.testing.assert_close(inside(network).mean, mean)
    for _ in range(20):
        network(inputs)
    before, other = inside(network).mean.clone(), inputs.flip(0) + 1
    network(other)
    mean = inside(network).context(other).mean(dim=0)
    torch.testing.assert_close(inside(network).mean, (1 - MOMENTUM) * before + MOMENTUM * mean)
    network.eval()
    together, alone = network(inputs), torch.cat([network(row[None]) for row in inputs])
    torch.testing.assert_close(together, alone)
    before = inside(network).mean.clone()
    inside(network).mean += 1
    assert not torch.allclose(network(inputs), together), "what a context is tells"
    inside(network).mean.copy_(before)
    torch.testing.assert_close(network(inputs), together)


@pytest.mark.parametrize("is_trained", [True, False])
def test_the_context_network_learns_unless_it_is_not_to(is_trained: bool) -> None:
    network = network_of(context=Context(width=4, is_trained=is_trained)).train()
    network(images()).sum().backward()
    parameters = list(inside(network).context.parameters())
    assert all((parameter.grad is not None) is is_trained for parameter in parameters)


def test_it_begins_by_its_seed_alone() -> None:
    first, again = network_of(), network_of()
    torch.randn(3)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    other = build_network(ModelConfig(), SHAPES["small_cnn"], 5, seed=0)
    put_in_context(other, SHAPES["small_cnn"], Context(width=4), seed=1)
    assert not torch.equal(inside(other).context[0].weight, inside(first).context[0].weight)
    assert torch.equal(other[1].weight, first[1].weight)


@pytest.mark.parametrize("backbone", ["small_cnn", "resnet18", "timm:test_vit"])
def test_every_parameter_is_in_one_stage(backbone: str) -> None:
    network = network_of(backbone)
    found = [id(parameter) for stage in network.stages() for parameter in stage]
    assert sorted(found) == sorted(id(parameter) for parameter in network.parameters())


@pytest.mark.parametrize("train", ["head", "norms"])
def test_what_is_not_to_learn_keeps_its_weights_and_the_context_learns(train: str) -> None:
    network = network_of("resnet18", train=train).train()
    convolution = next(module for module in inside(network).body.modules() if isinstance(module, nn.Conv2d))
    assert not convolution.weight.requires_grad
    network(images("resnet18")).sum().backward()
    assert all(parameter.grad is not None for parameter in inside(network).context.parameters())


def test_colours_are_normalised_for_weights_and_the_context_is_left_as_it_is() -> None:
    network = build_network(ModelConfig(backbone="resnet18"), SHAPES["resnet18"], 5, seed=0)
    given = torch.tensor([[0.0, 0, 0], [1, 1, 1]])
    network[0].renormalize = Renormalize(given, torch.tensor([[1.0, 2, 3], [2, 2, 2]]))  # type: ignore[union-attr]
    put_in_context(network, SHAPES["resnet18"], Context(width=4))
    seen: list[torch.Tensor] = []
    inside(network).body.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0]))  # type: ignore[operator, union-attr]
    inside(network).mean.fill_(7)
    network.eval()(torch.zeros(1, 3, 32, 32))
    torch.testing.assert_close(seen[0][0, :, 0, 0], torch.tensor([-0.5, -1, -1.5, 7]))


@pytest.mark.parametrize("backbone", ["small_cnn", "resnet18"])
def test_an_empty_network_takes_the_state_of_any(backbone: str) -> None:
    model, inputs = ModelConfig(backbone=backbone), images(backbone)
    for trained in (network_of(backbone), build_network(model, SHAPES[backbone], 5, seed=0)):
        trained.train()(inputs)
        empty = empty_network(model, SHAPES[backbone], 5)
        put_in_context_of(empty, SHAPES[backbone], trained.state_dict())
        empty.load_state_dict(trained.state_dict())
        torch.testing.assert_close(empty.eval()(inputs), trained.eval()(inputs))


@pytest.mark.parametrize("backbone", ["linear", "mlp"])
def test_a_backbone_without_a_first_convolution_is_refused(backbone: str) -> None:
    network = build_network(ModelConfig(backbone=backbone), (8, 8, 3), 5, seed=0)
    for shape in ((8, 8, 3), (5,)):
        with pytest.raises(
            UserError, match=r"^model.backbone: the algorithm gives images another channel, .*small_cnn"
        ):
            put_in_context(network, shape, Context(width=4))


@pytest.mark.parametrize("backbone", ["timm:repvgg_a0", "timm:mobileone_s0"])
def test_a_backbone_with_several_stems_is_refused(backbone: str) -> None:
    pytest.importorskip("timm")
    network = build_network(ModelConfig(backbone=backbone), (64, 64, 3), 5, seed=0)
    with pytest.raises(UserError, match=r"^model.backbone: the algorithm gives images another channel"):
        put_in_context(network, (64, 64, 3), Context(width=4))
