"""SelfReg: rows of one class are to agree with each other, and with mixtures of each other (Kim et al. 2021)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ndcl.algorithm_configs.alignment import SelfRegConfig
from ndcl.algorithms.base import Algorithm, Loss, Rows, SourceDomains, generator, total_of
from ndcl.algorithms.networks import seeded
from ndcl.batch import Layout, to_device

WIDEST = 2048
"""Features from which the projector's hidden layers are no wider than the features."""
SHARE_OF_FEATURES = 0.3
"""Factor on the distance between features, beside that between logits."""
_STREAM = 5  # keeps these draws apart from others for the same (seed, step)


@dataclass(frozen=True)
class Partners:
    """For each row of the batch sorted by class two partners of its class, drawn without replacement, and a share."""

    first: NDArray[np.int64]
    """[N] places among the sorted rows."""
    second: NDArray[np.int64]
    share: float
    """Of the first in the mixture of both."""


class SelfReg(Algorithm):
    """Self-supervised contrastive regularisation."""

    sees_features = True

    def __init__(self, config: SelfRegConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.sources, size = sources, sources.num_features
        hidden = size if size >= WIDEST else 2 * size
        self.projector = seeded(sources.seed, lambda: _projector(size, hidden))
        self.projector.requires_grad_(config.train_projector)

    def partners(self, layout: Layout, step: int) -> Partners:
        """The draws of this step."""
        draws = generator(self.sources.seed, step, _STREAM)
        share = float(draws.beta(0.5, 0.5))
        first, second, start = [], [], 0
        for size in layout.host_sizes:
            first.append(start + draws.permutation(size))
            second.append(start + draws.permutation(size))
            start += int(size)
        return Partners(np.concatenate(first), np.concatenate(second), share)

    def loss(self, rows: Rows) -> Loss:
        """Cross-entropy plus the distances between logits, and between features and projected features."""
        risk, layout = rows.losses.mean(), rows.layout
        if layout.num_rows == 1:  # BatchNorm knows no variance of it
            return Loss(total=risk, terms=total_of(total=risk, cross_entropy=risk))
        partners = self.partners(layout, rows.step)
        order = np.argsort(layout.host_labels, kind="stable")
        by_class, first, second = (
            to_device(each, rows.logits.device) for each in (order, partners.first, partners.second)
        )
        logits, features = rows.logits[by_class].to(risk.dtype), rows.own_features[by_class]
        projected, share = self.projector(features), partners.share
        apart = _distance(logits, logits[first]) + SHARE_OF_FEATURES * _distance(features, projected[first])
        mixed, mixed_projected = (share * each[first] + (1 - share) * each[second] for each in (logits, projected))
        mixed_apart = _distance(logits, mixed) + SHARE_OF_FEATURES * _distance(features, mixed_projected)
        penalty = share * apart + (1 - share) * mixed_apart
        total = risk + risk.detach().clamp(max=1.0) * penalty
        return Loss(total=total, terms=total_of(total=total, cross_entropy=risk, penalty=penalty))


def _projector(size: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(size, hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
        nn.Linear(hidden, hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
        nn.Linear(hidden, size), nn.BatchNorm1d(size),
    )  # fmt: skip


def _distance(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).pow(2).mean()
