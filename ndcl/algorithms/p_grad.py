"""PGrad: the main directions of a trajectory through all domains make the gradient (Wang et al. 2023).

Legend: D domains; n = 3 D + 1 points of a trajectory, each all trained parameters.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ndcl.algorithm_configs.gradients import PGradConfig
from ndcl.algorithms.base import Algorithm, Loss, SourceDomains, Walk, generator, total_of
from ndcl.algorithms.memory_order import memory_order

PASSES = 3
"""Over the domains, each with a third of every domain's rows."""
DIRECTIONS = 4
"""Of the trajectory that count, those along which it spreads most."""
_STREAM = 9  # keeps these draws apart from others for the same (seed, step)


class PGrad(Algorithm):
    """Principal gradient (Wang et al. 2023, algorithm 1).

    The optimiser steps on one third of a domain's rows after the other, without weight decay. Of the points on its way
    the main directions, signed and scaled as the way itself, are added up by how far the points spread along each; the
    network moves against that sum from where it began.
    """

    walks = True

    def __init__(self, config: PGradConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.config, self.sources = config, sources

    def orders(self, num_domains: int, step: int) -> NDArray[np.int64]:
        """[3, D] the domains in the order of each pass."""
        draws = generator(self.sources.seed, step, _STREAM)
        return np.stack([draws.permutation(num_domains) for _ in range(PASSES)])

    def walk(self, walk: Walk, step: int) -> Loss:
        """The optimiser's steps, and one from where they began."""
        start = [parameter.clone() for parameter in walk.parameters]
        ways, risk = [], torch.zeros(())
        for number, order in enumerate(self.orders(walk.num_domains, step)):
            part = slice(number * walk.rows // PASSES, (number + 1) * walk.rows // PASSES)
            for domain in order:
                risk, gradients = walk.gradient(int(domain), part)
                walk.advance(gradients, decays=False)
                ways.append(torch._foreach_sub(walk.parameters, start))
        mixture = principal_mixture(products(ways))
        decay = self.sources.weight_decay
        moved = [
            value - self.config.outer_learning_rate * (_mixed(mixture, parts) + decay * value)
            for value, parts in zip(start, zip(*ways, strict=True), strict=True)
        ]
        walk.move_to(moved)
        return Loss(total=risk, terms=total_of(total=risk))


def products(ways: Sequence[Sequence[Tensor]]) -> Tensor:
    """[n - 1, n - 1] float64 scalar products of the ways to each point from the first, by parameter."""
    found = torch.zeros((len(ways), len(ways)), dtype=torch.float64, device=ways[0][0].device)
    for parts in zip(*ways, strict=True):
        order = memory_order(parts[0])
        rows = torch.stack([part.permute(order).flatten() for part in parts])
        found += (rows @ rows.T).double()
    return found


def principal_mixture(gram: Tensor) -> Tensor:
    """[n - 1] factors of the ways whose sum is the gradient, by their scalar products `gram` [n - 1, n - 1].

    With points as rows of C, centred, and C C' = U S U', the directions are C' u: all lengths and products of them are
    those of `gram`. Where that is not finite, since the training has diverged, neither are the factors.
    """
    size = len(gram) + 1
    points = torch.nn.functional.pad(gram.nan_to_num(0, 0, 0), (1, 0, 1, 0))  # the first point is the origin
    centred = torch.eye(size, dtype=gram.dtype, device=gram.device) - 1 / size
    spread, directions = torch.linalg.eigh(centred @ points @ centred)
    spread, directions = spread[-DIRECTIONS:].clamp(min=0), directions[:, -DIRECTIONS:]
    along = centred @ directions  # [n, 4] factors of the points in each direction
    whole = -points[-1]  # products of the way back, from the last point to the first
    signs = torch.where(whole @ along > 0, 1.0, -1.0)
    tiny = torch.finfo(gram.dtype).tiny
    lengths = (along * (points @ along)).sum(dim=0).clamp(min=tiny).sqrt()
    shares = spread / spread.norm().clamp(min=tiny)
    mixture: Tensor = along @ (shares * signs * points[-1, -1].clamp(min=0).sqrt() / lengths)
    return mixture[1:] + 0 * gram.sum()


def _mixed(mixture: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """The sum of `parts` by the factors of `mixture`."""
    found = torch.zeros_like(parts[0])
    for factor, part in zip(mixture.to(found.dtype), parts, strict=True):
        found.addcmul_(factor, part)
    return found
