"""Rules that make one gradient of those of the source domains."""

from torch import Tensor

from ndcl.algorithm_configs.gradients import AndMaskConfig, SandMaskConfig
from ndcl.algorithms.base import Algorithm, Loss, Rows, SourceDomains, total_of
from ndcl.algorithms.memory_order import memory_order, original_order

SLACK = 1e-9
"""On the comparison of a mean of signs, which is rounded."""


class _ByDomain(Algorithm):
    combines_domains = True

    def loss(self, rows: Rows) -> Loss:
        """The mean risk, and the risk of each domain."""
        risks = rows.risks
        total = risks.mean()
        return Loss(total=total, terms=total_of(total=total), by_domain=risks)

    def mask(self, gradients: Tensor, mean: Tensor) -> Tensor:
        """Factors [...] on the `mean` [...] of the domains' `gradients` [D, ...]."""
        raise NotImplementedError

    def combine(self, gradients: Tensor, step: int) -> Tensor:
        """The masked mean, brought back to its size by the mean of the mask, as in the release."""
        order = memory_order(gradients[0])
        laid = gradients.permute(0, *(1 + dimension for dimension in order))
        mean = laid.mean(dim=0)
        mask = self.mask(laid, mean)
        return mean.mul_(mask).div_(1e-10 + mask.mean()).permute(original_order(order))


class AndMask(_ByDomain):
    """AND-mask (Parascandolo et al. 2021): where the signs of enough domains agree."""

    def __init__(self, config: AndMaskConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.tau = config.tau

    def mask(self, gradients: Tensor, mean: Tensor) -> Tensor:
        """1 where they agree, else 0."""
        agreement = gradients.sign().sum(dim=0).abs_().div_(len(gradients))
        return (agreement >= self.tau - SLACK).to(gradients.dtype)


class SandMask(_ByDomain):
    """Smoothed AND-mask (Shahtalebi et al. 2021): by the agreement of signs, over the variance of the domains."""

    def __init__(self, config: SandMaskConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.config = config

    def mask(self, gradients: Tensor, mean: Tensor) -> Tensor:
        """In [0, 1]."""
        agreement = gradients.sign().sum(dim=0).abs_().div_(len(gradients))
        # torch's own variance over a first dimension takes ten times as long
        variance = (gradients - mean).square_().sum(dim=0).div_(max(len(gradients) - 1, 1))
        variance.masked_fill_(variance <= 0, 1e-17)
        return agreement.sub_(self.config.tau).mul_(self.config.k).div_(variance).tanh_().clamp_(min=0)
