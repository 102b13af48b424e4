"""Target conditioned representation independence: one part of the features suffices, another is independent of it.

Salaudeen and Koyejo 2024. Legend: z features, a and u two linear maps of them, P numbers each.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ndcl.algorithm_configs.alignment import TcriHsicConfig
from ndcl.algorithms.base import Loss, Rows, SourceDomains, total_of
from ndcl.algorithms.networks import seeded
from ndcl.algorithms.penalized import LatePenalty
from ndcl.batch import Layout, to_device


class TcriHsic(LatePenalty):
    """Risk of a classifier on a, risks of domains' own classifiers on a and u, and the dependence of a and u.

    The dependence is that within each class and domain. The classifier and the map to a, one after the other, are
    linear in the features: together they are the head that answers.
    """

    sees_features = True
    has_own_head = True

    def __init__(self, config: TcriHsicConfig, sources: SourceDomains) -> None:
        super().__init__(start=config.penalty_start(sources.num_steps), early=1.0, full=config.penalty_weight)
        self.config = config
        size, classes = sources.num_features, sources.num_classes
        self.general, self.spurious = (seeded(sources.seed + n, lambda: nn.Linear(size, size)) for n in (0, 1))
        self.classifier = seeded(sources.seed + 2, lambda: nn.Linear(size, classes))
        self.domain_classifiers = seeded(
            sources.seed + 3, lambda: nn.ModuleList(nn.Linear(2 * size, classes) for _ in range(sources.num_domains))
        )

    def own_head(self) -> tuple[Tensor, Tensor]:
        """The classifier after the map to a."""
        weight = self.classifier.weight
        return weight @ self.general.weight, weight @ self.general.bias + self.classifier.bias

    def loss(self, rows: Rows) -> Loss:
        """The three terms."""
        layout, features = rows.layout, rows.own_features
        is_fixed = self.config.released and rows.step >= self.start
        general, spurious = self.general(features), _applied(self.spurious, features, is_fixed=is_fixed)
        risk = F.cross_entropy(self.classifier(general), layout.labels)
        both, labels = layout.by_domain(torch.cat([general, spurious], dim=1)), layout.by_domain(layout.labels)
        of_domains = [
            F.cross_entropy(_applied(head, own, is_fixed=is_fixed), own_labels)
            for head, own, own_labels in zip(self.domain_classifiers, both, labels, strict=True)
        ]
        domain_risk, penalty = torch.stack(of_domains).mean(), dependence(general, spurious, layout)
        total = risk + self.config.domain_weight * domain_risk + self.weight(rows.step) * penalty
        return Loss(
            total=total,
            terms=total_of(total=total, cross_entropy=risk, domain_cross_entropy=domain_risk, penalty=penalty),
        )


def _applied(layer: nn.Module, inputs: Tensor, *, is_fixed: bool) -> Tensor:
    """The layer's outputs; with `is_fixed` it gets no gradient, not even of 0."""
    assert isinstance(layer, nn.Linear)
    weight, bias = (layer.weight.detach(), layer.bias.detach()) if is_fixed else (layer.weight, layer.bias)
    return F.linear(inputs, weight, bias)


def dependence(first: Tensor, second: Tensor, layout: Layout) -> Tensor:
    """0-d Hilbert-Schmidt independence criterion (Gretton et al. 2005) of [N, P] and [N, P].

    The sum over the classes of a domain with at least two rows there, over its classes and rows; the mean over domains.
    """
    per_domain, found = layout.num_rows // layout.num_domains, (first * 0.0).sum()
    for start in range(0, layout.num_rows, per_domain):
        own = layout.host_labels[start : start + per_domain]
        classes, sizes = np.unique(own, return_counts=True)
        for label in classes[sizes > 1]:
            rows = to_device(start + np.flatnonzero(own == label), first.device)
            kernels = centred_kernel(first[rows]) * centred_kernel(second[rows])
            found = found + kernels.sum() / (len(classes) * per_domain)
    return found / layout.num_domains


def centred_kernel(points: Tensor) -> Tensor:
    """[n, n] Gaussian kernel of `points` [n, P], its rows and columns centred.

    The width is the lower median of the squared distances of different points, with a gradient; 1 if all are the same.
    """
    squares = (points[:, None] - points[None, :]).pow(2).sum(dim=2)
    upper = to_device(np.stack(np.triu_indices(len(points), 1)), points.device)
    distances = squares[upper[0], upper[1]].sort().values
    num_zero = (distances <= 0).sum()
    middle = num_zero + (len(distances) - num_zero - 1).clamp(min=0) // 2
    median = distances.gather(0, middle.clamp(max=len(distances) - 1)[None])[0]
    kernel = torch.exp(-squares / (2 * torch.where(median > 0, median, torch.ones_like(median))))
    return kernel - kernel.mean(dim=0, keepdim=True) - kernel.mean(dim=1, keepdim=True) + kernel.mean()
