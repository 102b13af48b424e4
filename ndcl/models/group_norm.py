"""GroupNorm in place of BatchNorm: each row is normalised by itself, whoever computes it and with which others."""

import math

from torch import nn

GROUPS = 32
"""The paper's number (Wu and He 2018, arXiv 1803.08494); of a layer whose channels it doesn't divide, a divisor."""


def use_group_norm(network: nn.Module) -> None:
    """Replace all BatchNorm2d layers of `network`, which must not have been trained yet."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.BatchNorm2d:
                groups = math.gcd(GROUPS, child.num_features)
                setattr(parent, name, nn.GroupNorm(groups, child.num_features, eps=child.eps))
