"""Algorithms whose step goes from one source domain to the next, and looks at gradients on the way."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ndcl.algorithm_configs.gradients import FishConfig, MldgConfig
from ndcl.algorithms.base import Algorithm, Loss, SourceDomains, Walk, generator, total_of

_STREAM = 7  # keeps these draws apart from others for the same (seed, step)
_EPSILON = 1e-8
"""Of Adam."""


class Mldg(Algorithm):
    """Meta-learning for domain generalization (Li et al. 2018), first order, as in the release.

    For each domain of the inner step: its gradient, and that of a left-out domain after one step of a new Adam on it.
    The first step of a new Adam is the learning rate times the gradient's sign.
    """

    walks = True

    def __init__(self, config: MldgConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.config, self.sources = config, sources

    def order(self, num_domains: int, step: int) -> NDArray[np.int64]:
        """[D] the domains: first those of the inner step, then those left out."""
        return generator(self.sources.seed, step, _STREAM).permutation(num_domains)

    def walk(self, walk: Walk, step: int) -> Loss:
        """All gradients, and one step of the optimiser by them."""
        num_domains = walk.num_domains
        left_out = min(self.config.num_meta_test, num_domains - 1)
        order, beta = self.order(num_domains, step), self.config.beta
        inner, outer = order[: num_domains - left_out], order[num_domains - left_out :]
        start = [parameter.clone() for parameter in walk.parameters]
        total, gradients = torch.zeros(()), [torch.zeros_like(each) for each in start]
        for number, domain in enumerate(inner):
            risk, own = walk.gradient(int(domain))
            total = total.to(risk) + risk
            torch._foreach_add_(gradients, own)
            if left_out:
                walk.move_to([self._stepped(value, slope) for value, slope in zip(start, own, strict=True)])
                risk, other = walk.gradient(int(outer[number % left_out]))
                total = total + beta * risk
                torch._foreach_add_(gradients, other, alpha=beta)
                walk.move_to(start)
        torch._foreach_div_(gradients, num_domains)
        walk.advance(gradients)
        total = total / num_domains
        return Loss(total=total, terms=total_of(total=total))

    def _stepped(self, value: Tensor, gradient: Tensor) -> Tensor:
        slope = gradient + self.sources.weight_decay * value
        return value - self.sources.learning_rate * slope / (slope.abs() + _EPSILON)


class Fish(Algorithm):
    """Fish (Shi et al. 2022, algorithm 1): the optimiser steps on one domain after the other, and a share of the way is
    taken. The optimiser's moments live on; the domains' order is fixed, as in the release."""

    walks = True

    def __init__(self, config: FishConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.share = config.meta_learning_rate

    def walk(self, walk: Walk, step: int) -> Loss:
        """D steps of the optimiser."""
        start, risks = [parameter.clone() for parameter in walk.parameters], []
        for domain in range(walk.num_domains):
            risk, gradients = walk.gradient(domain)
            walk.advance(gradients)
            risks.append(risk)
        torch._foreach_lerp_(start, walk.parameters, self.share)
        walk.move_to(start)
        return Loss(total=risks[-1], terms=total_of(total=risks[-1], cross_entropy=torch.stack(risks).mean()))
