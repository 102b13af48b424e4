"""GroupNorm in place of BatchNorm."""

from typing import Any

import pytest
import torch
from torch import nn

from ndcl.config import ModelConfig
from ndcl.errors import UserError
from ndcl.models import build_network


@pytest.mark.parametrize(("backbone", "groups"), [("resnet18", {32}), ("efficientnet_b0", {8, 16, 32})])
def test_every_batchnorm_gives_way_and_a_row_is_normalised_by_itself(backbone: str, groups: set[int]) -> None:
    shape = (64, 64, 3)
    plain, network = (
        build_network(ModelConfig(backbone=backbone, norm=n), shape, 4, seed=0) for n in ("batch", "group")
    )
    norms = [module for module in network.modules() if isinstance(module, nn.GroupNorm)]
    assert len(norms) == len(plain.batchnorms) > 0
    assert network.batchnorms == []
    assert groups <= {norm.num_groups for norm in norms}
    assert all(norm.num_channels % norm.num_groups == 0 for norm in norms)
    ours, theirs = network.state_dict(), plain.state_dict()
    assert ours.keys() <= theirs.keys(), "the same parameters by the same names"
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    rows = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    network.eval()
    with torch.no_grad():
        torch.testing.assert_close(network(rows)[:1], network(rows[:1]))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"backbone": "resnet18", "weights": "imagenet"}, "norm: group is for networks from scratch"),
        ({"backbone": "timm:resnet18"}, "norm: group is for backbones of torchvision"),
    ],
)
def test_where_it_can_not_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ModelConfig(norm="group", **values)
