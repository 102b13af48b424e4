"""The methods that NDCL is compared with: losses on the logits of the batch alone."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ndcl.algorithm_configs.long_tail import (
    BalancedSoftmaxConfig,
    ErmConfig,
    FocalConfig,
    LdamConfig,
    ReweightConfig,
)
from ndcl.algorithms.base import Algorithm, Loss, Rows, SourceDomains, domain_mean, frequencies_of, log_frequencies
from ndcl.batch import Layout
from ndcl.imbalance import class_weights
from ndcl.losses import full_precision


class Baseline(Algorithm):
    """An algorithm with one term on the real rows."""

    def value(self, logits: Tensor, layout: Layout) -> Tensor:
        """0-d loss of `logits` [N, K]."""
        raise NotImplementedError

    def loss(self, rows: Rows) -> Loss:
        """`value` of the logits [N, K] in full precision."""
        total = self.value(full_precision(rows.logits), rows.layout)
        return Loss(total=total, terms={"total": total.detach()})


class Erm(Baseline):
    """Mean cross-entropy over all rows."""

    def __init__(self, config: ErmConfig, sources: SourceDomains) -> None:
        super().__init__()

    def value(self, logits: Tensor, layout: Layout) -> Tensor:
        """The mean over rows."""
        return F.cross_entropy(logits, layout.labels)


class Reweight(Baseline):
    """Cross-entropy weighted by inverse class frequency; weighted mean per domain, then the mean over domains."""

    class_weights: Tensor

    def __init__(self, config: ReweightConfig, sources: SourceDomains) -> None:
        super().__init__()
        weights = class_weights(frequencies_of(sources, config.frequencies), config.class_weight_exponent)
        self.register_buffer("class_weights", torch.from_numpy(weights), persistent=False)

    def value(self, logits: Tensor, layout: Layout) -> Tensor:
        """The mean over domains of the weighted mean over rows."""
        losses = F.cross_entropy(logits, layout.labels, reduction="none")
        weights = self.class_weights[layout.domains, layout.labels]
        return domain_mean(losses, weights, layout, len(self.class_weights))


class BalancedSoftmax(Baseline):
    """Balanced softmax (Ren et al. 2020, eq. 4), per domain: the log of the class counts is added to the logits."""

    offsets: Tensor

    def __init__(self, config: BalancedSoftmaxConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.register_buffer("offsets", log_frequencies(frequencies_of(sources, config.frequencies)), persistent=False)

    def value(self, logits: Tensor, layout: Layout) -> Tensor:
        """The mean over domains of the mean over rows, on adjusted logits."""
        adjusted = logits + self.offsets.to(logits.dtype)[layout.domains]
        losses = F.cross_entropy(adjusted, layout.labels, reduction="none")
        return domain_mean(losses, torch.ones_like(losses), layout, len(self.offsets))


class Ldam(Baseline):
    """Label-distribution-aware margin (Cao et al. 2019, eq. 13): the true logit is lowered by ~ count^(-1/4)."""

    margins: Tensor

    def __init__(self, config: LdamConfig, sources: SourceDomains) -> None:
        super().__init__()
        frequencies = frequencies_of(sources, config.frequencies)
        present = frequencies > 0
        margins = np.where(present, np.where(present, frequencies, 1.0) ** -0.25, 0.0)
        margins *= config.max_margin / margins.max(axis=1, keepdims=True)
        self.scale = config.scale
        self.register_buffer("margins", torch.from_numpy(margins), persistent=False)

    def value(self, logits: Tensor, layout: Layout) -> Tensor:
        """The mean over domains of the mean over rows, on lowered and scaled logits."""
        margins = self.margins.to(logits.dtype)[layout.domains, layout.labels]
        lowered = logits.scatter_add(1, layout.labels[:, None], -margins[:, None])
        losses = F.cross_entropy(self.scale * lowered, layout.labels, reduction="none")
        return domain_mean(losses, torch.ones_like(losses), layout, len(self.margins))


class Focal(Baseline):
    """Focal loss (Lin et al. 2017, eq. 4): confident rows count less."""

    def __init__(self, config: FocalConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.gamma = config.gamma

    def value(self, logits: Tensor, layout: Layout) -> Tensor:
        """The mean over rows, each damped by its confidence."""
        losses = F.cross_entropy(logits, layout.labels, reduction="none")
        # the base is kept above 0, where the derivative of a power below 1 is infinite
        doubt = (-torch.expm1(-losses)).clamp(min=torch.finfo(losses.dtype).tiny)
        return (doubt**self.gamma * losses).mean()
