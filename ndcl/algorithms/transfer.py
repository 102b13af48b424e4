"""Transfer: features on which no classifier near the network's tells the domains by its risk (Zhang et al. 2021)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ndcl.algorithm_configs.invariance import TransferConfig
from ndcl.algorithms.base import Algorithm, Loss, Rows, SourceDomains, total_of
from ndcl.algorithms.networks import seeded


class Transfer(Algorithm):
    """Three parts of a step (Zhang et al. 2021, algorithm 1): the network's, the backbone's, and an adversary's.

    The adversary is a head near the network's on whose logits the domains' risks are as far apart as can be.
    """

    def __init__(self, config: TransferConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.adversary = seeded(sources.seed, lambda: nn.Linear(sources.num_features, sources.num_classes))
        self.adversary.requires_grad_(False)  # moved by gradient ascent, within its part
        self.parts = (_Risk(self.adversary), _Gap(self.adversary, config), _Ascent(self.adversary, config))


class _Risk(Algorithm):
    """The mean cross-entropy. At first the adversary is the network's head."""

    sees_features = True
    sees_head = True

    def __init__(self, adversary: nn.Linear) -> None:
        super().__init__()
        self._adversary = [adversary]

    def loss(self, rows: Rows) -> Loss:
        if rows.step == 0:
            _copy(self._adversary[0], rows)
        total = rows.losses.mean()
        return Loss(total=total, terms=total_of(total=total))


class _Gap(Algorithm):
    """The backbone brings together what the adversary tells apart."""

    sees_features = True
    trains_head = False

    def __init__(self, adversary: nn.Linear, config: TransferConfig) -> None:
        super().__init__()
        self._adversary, self._config = [adversary], config

    def loss(self, rows: Rows) -> Loss:
        adversary = self._adversary[0]
        total = self._config.penalty_weight * risk_gap(rows, adversary.weight, adversary.bias)
        return Loss(total=total, terms=total_of(gap_left=total))


class _Ascent(Algorithm):
    """The adversary begins at the network's head and climbs, never farther from it than `distance`."""

    sees_features = True
    sees_head = True

    def __init__(self, adversary: nn.Linear, config: TransferConfig) -> None:
        super().__init__()
        self._adversary, self._config = [adversary], config

    def trains_network(self, step: int) -> bool:
        return False

    def loss(self, rows: Rows) -> Loss:
        assert rows.head is not None
        center = tuple(each.to(rows.own_features.dtype) for each in rows.head)
        weight, bias, gap = *center, rows.own_features.new_zeros(())
        for _ in range(self._config.adversary_steps):
            weight, bias = weight.detach().requires_grad_(), bias.detach().requires_grad_()
            gap = self._config.penalty_weight * risk_gap(rows, weight, bias)
            slopes = torch.autograd.grad(gap, (weight, bias))
            climbed = [
                value.detach() + self._config.adversary_learning_rate * slope
                for value, slope in zip((weight, bias), slopes, strict=True)
            ]
            weight, bias = _pulled(climbed, center, self._config.distance)
        with torch.no_grad():
            self._adversary[0].weight.copy_(weight)
            self._adversary[0].bias.copy_(bias)
        return Loss(total=gap.detach(), terms=total_of(gap=gap))


def risk_gap(rows: Rows, weight: Tensor, bias: Tensor) -> Tensor:
    """0-d: the largest of the domains' risks less the smallest, by a head `weight` [K, P], `bias` [K]."""
    features = rows.own_features
    logits = F.linear(features, weight.to(features.dtype), bias.to(features.dtype))
    losses = F.cross_entropy(logits, rows.layout.labels, reduction="none")
    risks = rows.layout.by_domain(losses).mean(dim=1)
    return risks.max() - risks.min()


def _pulled(head: list[Tensor], center: tuple[Tensor, ...], distance: float) -> list[Tensor]:
    """Back to within `distance` of the center, weight and bias together."""
    ways = [value - middle for value, middle in zip(head, center, strict=True)]
    length = torch.stack([way.pow(2).sum() for way in ways]).sum().sqrt()
    factor = (distance / length.clamp(min=torch.finfo(length.dtype).tiny)).clamp(max=1.0)
    return [middle + factor * way for middle, way in zip(center, ways, strict=True)]


@torch.no_grad()
def _copy(adversary: nn.Linear, rows: Rows) -> None:
    assert rows.head is not None
    adversary.weight.copy_(rows.head[0])
    adversary.bias.copy_(rows.head[1])
