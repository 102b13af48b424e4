"""Algorithms that train as ERM does and answer by another head: adjusted after the training, for balanced classes."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ndcl.algorithm_configs.long_tail import LogitAdjustmentConfig, TauNormConfig
from ndcl.algorithms.base import SourceDomains, domain_mean, frequencies_of, log_frequencies
from ndcl.algorithms.baselines import Baseline
from ndcl.batch import Layout


class LogitAdjustment(Baseline):
    """Logit adjustment (Menon et al. 2021), post hoc (their eq. 9) or in the loss (their eq. 10).

    Post hoc tau times the log of a class's frequency in all source batches together is taken off its logit: off the
    head's bias. A class that they lack keeps its logit. In the loss it is added to the logits, per domain.
    """

    offsets: Tensor

    def __init__(self, config: LogitAdjustmentConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.adjusts_head = config.mode == "post_hoc"
        if self.adjusts_head:
            offsets = torch.from_numpy(_log_prior(sources.frequencies.mean(axis=0)))
        else:
            offsets = log_frequencies(frequencies_of(sources, config.frequencies))
        self.register_buffer("offsets", config.tau * offsets, persistent=False)

    def value(self, logits: Tensor, layout: Layout) -> Tensor:
        """The mean over rows; in the loss on adjusted logits, as the mean over domains."""
        if self.adjusts_head:
            return F.cross_entropy(logits, layout.labels)
        adjusted = logits + self.offsets.to(logits.dtype)[layout.domains]
        losses = F.cross_entropy(adjusted, layout.labels, reduction="none")
        return domain_mean(losses, torch.ones_like(losses), layout, len(self.offsets))

    def adjusted_head(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The bias less the offsets [K]."""
        return weight, bias - self.offsets.to(bias.dtype)


def _log_prior(frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """[K] log of `frequencies` [K]; 0 for a class without images."""
    return np.log(np.where(frequencies > 0, frequencies, 1.0))


class TauNorm(Baseline):
    """Tau-normalised classifier (Kang et al. 2020, eq. 5): each class's weights are divided by a power of their length.

    Frequent classes have longer ones. The bias is left out, as in the paper.
    """

    adjusts_head = True

    def __init__(self, config: TauNormConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.tau = config.tau

    def value(self, logits: Tensor, layout: Layout) -> Tensor:
        """The mean over rows."""
        return F.cross_entropy(logits, layout.labels)

    def adjusted_head(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """`weight` [K, P] over its rows' lengths to the power tau, and no bias."""
        lengths = weight.norm(dim=1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)
        return weight / lengths**self.tau, torch.zeros_like(bias)
