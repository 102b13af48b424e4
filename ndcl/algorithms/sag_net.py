"""SagNet (Nam et al. 2021): content and style of features, taken apart by three steps on each batch.

The style of a row is the mean and the variance of its features, its content what is left when both are taken out. The
paper has them of convolutional maps; here, as in the release, of the features before the head.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ndcl.algorithm_configs.alignment import SagNetConfig
from ndcl.algorithms.base import Algorithm, Loss, OwnOptimizer, Rows, SourceDomains, generator, total_of
from ndcl.algorithms.networks import seeded
from ndcl.batch import Layout, to_device
from ndcl.losses import full_precision

EPSILON = 1e-5
"""Added to the variance."""
_STREAM = 8  # keeps these draws apart from others for the same (seed, step)


@dataclass(frozen=True)
class Others:
    """For each row another one, without replacement, and how much of its own style it keeps."""

    shares: NDArray[np.float64]
    """[N] in [0, 1]."""
    rows: NDArray[np.int64]
    """[N] a permutation."""


def style_of(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance [n, 1] of each row of `features` [n, P]; the variance of a single feature is 0."""
    mean = features.mean(dim=1, keepdim=True)
    divisor = max(features.shape[1] - 1, 1)
    return mean, (features - mean).pow(2).sum(dim=1, keepdim=True) / divisor


@dataclass(frozen=True)
class RestyledRows:
    """The batch's rows, each with its style mixed with that of another one."""

    rows: Tensor
    """[M] of the batch."""
    others: Tensor
    """[M]"""
    shares: Tensor
    """[M, 1] of the own style."""

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, part: slice) -> "RestyledRows":
        """Of the rows in `part` alone."""
        return replace(self, rows=self.rows[part], others=self.others[part], shares=self.shares[part])

    def mixed(self, features: Tensor) -> Tensor:
        """[M, P] of all `features` [N, P]."""
        mean, variance = style_of(features)
        shares = self.shares.to(features.dtype)
        content = (features[self.rows] - mean[self.rows]) / (variance[self.rows] + EPSILON).sqrt()
        new_mean, new_variance = (
            shares * each[self.rows] + (1 - shares) * each[self.others] for each in (mean, variance)
        )
        return content * (new_variance + EPSILON).sqrt() + new_mean


Draw = Callable[[Layout, int, int], Others]
"""The draws of a step's part, by its number."""


class SagNet(Algorithm):
    """Three steps on each batch.

    Of the network, its head on restyled rows; of a head for style, on rows with the content of others; and of the
    backbone, so that this head finds all classes equally likely.
    """

    def __init__(self, config: SagNetConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.sources = sources
        self.own_optimizer = OwnOptimizer(learning_rate=sources.learning_rate, weight_decay=sources.weight_decay)
        self.style_head = seeded(sources.seed, lambda: nn.Linear(sources.num_features, sources.num_classes))

        def draw(layout: Layout, step: int, part: int) -> Others:
            return self.draws(layout, step, part)

        style = (_Style(self.style_head, draw, None), _Style(self.style_head, draw, config.penalty_weight))
        self.parts = (_Restyled(draw), *style)

    def draws(self, layout: Layout, step: int, part: int) -> Others:
        """Of one part of a step."""
        found = generator(self.sources.seed, step, _STREAM + 1000 * part)
        return Others(found.random(layout.num_rows), found.permutation(layout.num_rows))


class _Restyled(Algorithm):
    mixes_features = True

    def __init__(self, draw: Draw) -> None:
        super().__init__()
        self._draw = draw

    def num_made(self, layout: Layout) -> int:
        return layout.num_rows

    def plan(self, rows: Rows) -> RestyledRows:
        others, device = self._draw(rows.layout, rows.step, 0), rows.logits.device
        own = to_device(np.arange(rows.layout.num_rows), device)
        return RestyledRows(own, to_device(others.rows, device), to_device(others.shares[:, None], device))

    def loss(self, rows: Rows) -> Loss:
        assert rows.made_logits is not None
        total = F.cross_entropy(full_precision(rows.made_logits), rows.layout.labels)
        return Loss(total=total, terms=total_of(total=total))


class _Style(Algorithm):
    """The head for style learns; or, with a weight, the backbone does against it."""

    sees_features = True
    trains_head = False

    def __init__(self, head: nn.Linear, draw: Draw, weight: float | None) -> None:
        super().__init__()
        self.head, self._draw, self._weight = head, draw, weight

    def trains_network(self, step: int) -> bool:
        return self._weight is not None

    def loss(self, rows: Rows) -> Loss:
        features, is_second = rows.own_features, self._weight is not None
        others = to_device(self._draw(rows.layout, rows.step, 1 + is_second).rows, features.device)
        mean, variance = style_of(features)
        deviation = (variance + EPSILON).sqrt()
        content = ((features - mean) / deviation).detach()[others]
        logits: Tensor = self.head(content * deviation + mean)
        if self._weight is None:
            total = F.cross_entropy(logits, rows.layout.labels)
            return Loss(total=total, terms=total_of(style=total))
        total = -self._weight * logits.log_softmax(dim=1).mean()
        return Loss(total=total, terms=total_of(adversarial=total))
