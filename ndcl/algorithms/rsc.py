"""RSC: the head is trained on features of which those that it leans on most are muted (Huang et al. 2020)."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ndcl.algorithm_configs.invariance import RscConfig
from ndcl.algorithms.base import Algorithm, Loss, Rows, SourceDomains, total_of
from ndcl.batch import Layout
from ndcl.losses import full_precision


@dataclass(frozen=True)
class MutedRows:
    """The batch's rows again, with some of their features at 0."""

    mask: Tensor
    """[N, P] factors, 0 or 1."""
    first: int = 0
    """The row that the mask begins with."""

    def __len__(self) -> int:
        return len(self.mask)

    def of(self, part: slice) -> "MutedRows":
        """Of the rows in `part` alone."""
        return MutedRows(self.mask[part], self.first + (part.start or 0))

    def mixed(self, features: Tensor) -> Tensor:
        """[m, P] of all `features` [N, P]."""
        return features[self.first : self.first + len(self.mask)] * self.mask.to(features.dtype)


class Rsc(Algorithm):
    """Representation self-challenging: muted are the features of largest weight in the row's class, by rank.

    In a share of the rows: those whose prediction suffers most by it.
    """

    mixes_features = True
    sees_head = True

    def __init__(self, config: RscConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.config = config

    def num_made(self, layout: Layout) -> int:
        """As many as there are rows."""
        return layout.num_rows

    @torch.no_grad()
    def plan(self, rows: Rows) -> MutedRows:
        """The features to mute, by the head's weights and by what muting does to the predictions."""
        assert rows.head is not None
        features, labels = rows.own_features, rows.layout.labels
        weight, bias = (full_precision(each).to(features.dtype) for each in rows.head)
        slopes = weight[labels]  # of the true logit by the features
        muted = ~_largest(slopes, self.config.feature_drop, dim=1)
        logits = full_precision(rows.logits).to(features.dtype)
        confidence, muted_confidence = (
            each.softmax(dim=1).gather(1, labels[:, None])[:, 0]
            for each in (logits, (features * muted) @ weight.T + bias)
        )
        is_challenged = _largest(confidence - muted_confidence, self.config.batch_drop, dim=0)
        return MutedRows(torch.where(is_challenged[:, None], muted, torch.ones_like(muted)).to(features.dtype))

    def loss(self, rows: Rows) -> Loss:
        """The mean cross-entropy of the muted rows."""
        assert rows.made_logits is not None
        total = F.cross_entropy(full_precision(rows.made_logits), rows.layout.labels)
        return Loss(total=total, terms=total_of(total=total, cross_entropy=rows.losses.mean()))


def _largest(values: Tensor, share: float, dim: int) -> Tensor:
    """Bool, as `values`: the largest along `dim`, as many as lie at or above the percentile of this share; 0: none.

    By rank, so that no tie or rounding decides how many.
    """
    size = values.shape[dim]
    count = 0 if share == 0 else size - math.ceil((1 - share) * (size - 1))
    ranks = values.argsort(dim=dim, descending=True, stable=True).argsort(dim=dim, stable=True)
    return ranks < count
