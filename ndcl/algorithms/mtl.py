"""Marginal transfer learning: the classifier also sees what the features of a row's domain are like on average."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ndcl.algorithm_configs.invariance import MtlConfig
from ndcl.algorithms.base import Algorithm, Loss, Rows, SourceDomains, total_of
from ndcl.algorithms.networks import seeded


class Mtl(Algorithm):
    """Marginal transfer learning (Blanchard et al. 2021), with a domain's mean feature as what stands for it.

    A classifier sees a row's features and the running mean of its domain. What answers for a domain without a mean, and
    for an image that comes alone, has the mean of the source domains' means: with it the classifier is a linear head.
    """

    sees_features = True
    has_own_head = True
    means: Tensor

    def __init__(self, config: MtlConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.ema, size = config.ema, sources.num_features
        self.classifier = seeded(sources.seed, lambda: nn.Linear(2 * size, sources.num_classes))
        self.register_buffer("means", torch.zeros((sources.num_domains, size), dtype=torch.get_default_dtype()))

    def own_head(self) -> tuple[Tensor, Tensor]:
        """The classifier with the mean of the domains' means."""
        of_row, of_domain = self.classifier.weight.chunk(2, dim=1)
        return of_row, of_domain @ self.means.mean(dim=0) + self.classifier.bias

    def loss(self, rows: Rows) -> Loss:
        """The sum of the domains' risks."""
        layout = rows.layout
        features = layout.by_domain(rows.own_features)
        means = self.ema * features.mean(dim=1) + (1 - self.ema) * self.means.to(features.dtype)
        with torch.no_grad():
            self.means.copy_(means)
        logits = self.classifier(torch.cat([features, means[:, None].expand_as(features)], dim=2))
        losses = F.cross_entropy(logits.flatten(0, 1), layout.labels, reduction="none")
        total = layout.by_domain(losses).mean(dim=1).sum()
        return Loss(total=total, terms=total_of(total=total, cross_entropy=total / layout.num_domains))
