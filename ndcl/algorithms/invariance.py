"""Algorithms by the source domains' risks, and penalties on logits, gradients and features that need no pairs."""

from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from ndcl.algorithm_configs.invariance import (
    EqrmConfig,
    FishrConfig,
    GroupDroConfig,
    IbErmConfig,
    IbIrmConfig,
    IrmConfig,
    RdmConfig,
    SdConfig,
    VrexConfig,
)
from ndcl.algorithms.base import Algorithm, Loss, Rows, SourceDomains, total_of
from ndcl.algorithms.matching import KERNEL_SCALES, discrepancy, kernel_means
from ndcl.algorithms.penalized import LatePenalty, Penalized
from ndcl.losses import full_precision

HALVINGS = 32
"""Of the interval in which the quantile lies."""
RISK_SCALES = (0.0001, *KERNEL_SCALES)
"""Of kernels on losses."""


def invariance_penalty(rows: Rows) -> Tensor:
    """0-d penalty of IRMv1 (Arjovsky et al. 2019, eq. IRMv1), in the form that can be estimated without a bias.

    For each source domain the product of two derivatives of the risk by a factor on the logits, at 1, of the rows at
    even and of those at odd positions; the mean over domains. It may be negative. In closed form the derivative of a
    row's loss is the mean logit under the prediction less the true one, so that nothing is differentiated twice.
    """
    logits, layout = full_precision(rows.logits), rows.layout
    true = logits.gather(1, layout.labels[:, None])[:, 0]
    slopes = layout.by_domain((logits.softmax(dim=1) * logits).sum(dim=1) - true)
    even, odd = slopes[:, ::2], slopes[:, 1::2]
    return (even.mean(dim=1) * (odd.mean(dim=1) if odd.shape[1] else odd.sum(dim=1))).mean()


def feature_variance(rows: Rows) -> Tensor:
    """0-d: the mean over source domains and features of the features' variance, unbiased; 0 of a single row."""
    features = rows.layout.by_domain(rows.own_features)
    return features.var(dim=1).mean() if features.shape[1] > 1 else (features * 0.0).sum()


class Irm(LatePenalty):
    """Invariant risk minimisation (Arjovsky et al. 2019)."""

    def __init__(self, config: IrmConfig, sources: SourceDomains) -> None:
        super().__init__(start=config.penalty_start(sources.num_steps), early=1.0, full=config.penalty_weight)

    def penalty(self, rows: Rows) -> Tensor:
        """`invariance_penalty`."""
        return invariance_penalty(rows)


class Vrex(LatePenalty):
    """Risk extrapolation (Krueger et al. 2021, eq. 8): the variance of the domains' risks."""

    def __init__(self, config: VrexConfig, sources: SourceDomains) -> None:
        super().__init__(start=config.penalty_start(sources.num_steps), early=1.0, full=config.penalty_weight)

    def penalty(self, rows: Rows) -> Tensor:
        """Variance over domains, not corrected."""
        return rows.risks.var(correction=0)


class IbErm(LatePenalty):
    """Information bottleneck (Ahuja et al. 2021): the variance of the features within each domain."""

    def __init__(self, config: IbErmConfig, sources: SourceDomains) -> None:
        super().__init__(start=config.penalty_start(sources.num_steps), early=0.0, full=config.penalty_weight)
        self.sees_features = True

    def penalty(self, rows: Rows) -> Tensor:
        """`feature_variance`."""
        return feature_variance(rows)


class IbIrm(IbErm):
    """Information bottleneck with the penalty of IRM beside it (Ahuja et al. 2021)."""

    def __init__(self, config: IbIrmConfig, sources: SourceDomains) -> None:
        super().__init__(config, sources)
        self._irm_start, self._irm_weight = config.irm_start(sources.num_steps), config.irm_weight

    def loss(self, rows: Rows) -> Loss:
        """Cross-entropy, the weighted penalty of IRM, and that of the bottleneck."""
        invariance = invariance_penalty(rows)
        weight = self._irm_weight if rows.step >= self._irm_start else 1.0
        rest = super().loss(rows)
        total = rest.total + weight * invariance
        return Loss(total=total, terms={**rest.terms, **total_of(total=total, irm_penalty=invariance)})

    def restarts_optimizer(self, step: int) -> bool:
        """At either start."""
        return super().restarts_optimizer(step) or (step == self._irm_start and step > 0)


class GroupDro(Algorithm):
    """Group DRO (Sagawa et al. 2020, algorithm 1): the domains' weights rise exponentially with their risks."""

    weights: Tensor

    def __init__(self, config: GroupDroConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.eta = config.eta
        self.register_buffer("weights", torch.ones(sources.num_domains, dtype=torch.get_default_dtype()))

    def loss(self, rows: Rows) -> Loss:
        """The weighted sum of the risks, by weights that this step's risks have moved."""
        risks = rows.risks
        with torch.no_grad():
            self.weights.mul_(torch.exp(self.eta * risks.detach()))
            self.weights.div_(self.weights.sum())
        total = (self.weights.to(risks.dtype).clone() * risks).sum()
        return Loss(total=total, terms=total_of(total=total, worst_risk=risks.max()))


class Eqrm(LatePenalty):
    """Quantile risk minimisation (Eastwood et al. 2022): a quantile of a kernel density of the domains' risks.

    Until its start it is the mean risk. With one domain, or equal risks, the quantile is the mean too.
    """

    def __init__(self, config: EqrmConfig, sources: SourceDomains) -> None:
        super().__init__(start=config.penalty_start(sources.num_steps), early=0.0, full=1.0)
        self.config = config

    def rate_factor(self, step: int) -> float:
        """The learning rate falls at the start of the quantile."""
        return self.config.learning_rate_factor if step >= self.start else 1.0

    def loss(self, rows: Rows) -> Loss:
        """The mean risk, then the quantile."""
        risks = rows.risks
        total = risks.mean()
        if rows.step >= self.start and len(risks) > 1:
            total = kernel_quantile(risks, self.config.quantile, released=self.config.released)
        return Loss(total=total, terms=total_of(total=total, worst_risk=risks.max()))


def kernel_quantile(risks: Tensor, quantile: float, *, released: bool = False) -> Tensor:
    """0-d quantile of a Gaussian kernel density of `risks` [D], its width by Silverman's rule; the mean of equal ones.

    With a gradient at all risks, by the implicit function that the quantile is (Eastwood et al. 2022, eq. 8); with
    `released` that of the release's bisection, which holds its weights on the two ends fixed.
    """
    normal = NormalDist().inv_cdf(quantile)
    spread = risks.std()
    is_flat = spread.detach() <= 0
    width = 1.06 * torch.where(is_flat, torch.ones_like(spread), spread) * len(risks) ** -0.2
    low, high = risks.min() + width * normal, risks.max() + width * normal
    with torch.no_grad():
        below, above = low.clone(), high.clone()
        for _ in range(HALVINGS):
            middle = (below + above) / 2
            is_above = torch.special.ndtr((middle - risks) / width).mean() > quantile
            below, above = torch.where(is_above, below, middle), torch.where(is_above, middle, above)
        found = (below + above) / 2
    if released:
        share = ((high - found) / (high - low)).detach()
        value = share * low + (1 - share) * high
    else:
        scaled = (found - risks) / width
        slope = (torch.exp(-scaled.pow(2) / 2) / width).mean().detach() / np.sqrt(2 * np.pi)
        reached = torch.special.ndtr(scaled).mean()
        value = found - (reached - reached.detach()) / slope
    return torch.where(is_flat, risks.mean(), value)


class Rdm(LatePenalty):
    """Risk distribution matching (Nguyen et al. 2024): MMD between the worst domain's losses and all losses."""

    def __init__(self, config: RdmConfig, sources: SourceDomains) -> None:
        super().__init__(start=config.penalty_start(sources.num_steps), early=0.0, full=1.0)
        self.config = config

    def rate_factor(self, step: int) -> float:
        """The learning rate falls at the start of the penalty."""
        return self.config.learning_rate_factor if step >= self.start else 1.0

    def penalty(self, rows: Rows) -> Tensor:
        """The weighted distance of the two distributions, and their variances."""
        losses, layout = rows.losses, rows.layout
        worst = layout.by_domain(losses).index_select(0, rows.risks.argmax()[None])[0]
        points = torch.cat([worst, losses])
        averaging = np.zeros((2, len(points)))
        averaging[0, : len(worst)], averaging[1, len(worst) :] = 1 / len(worst), 1 / len(losses)
        means = kernel_means(points[:, None], torch.from_numpy(averaging).to(points.device), RISK_SCALES)
        variances = losses.var() + worst.var() if len(worst) > 1 else (losses * 0.0).sum()
        return self.config.penalty_weight * discrepancy(means, 0, 1) + self.config.variance_weight * variances


class Fishr(LatePenalty):
    """Fishr (Rame et al. 2022): the variance over rows of the head's gradient, the same in all domains.

    A row's gradient is (prediction - label) for the bias, and its product with the features for the weight, so that
    its variance is a function of logits and features, without a second derivative.
    """

    of_bias: Tensor
    of_weight: Tensor

    def __init__(self, config: FishrConfig, sources: SourceDomains) -> None:
        super().__init__(start=config.penalty_start(sources.num_steps), early=0.0, full=config.penalty_weight)
        self.config, self.sees_features = config, True
        shape = (sources.num_domains, sources.num_classes)
        self.register_buffer("of_bias", torch.zeros(shape, dtype=torch.get_default_dtype()))
        self.register_buffer("of_weight", torch.zeros((*shape, sources.num_features), dtype=torch.get_default_dtype()))

    def penalty(self, rows: Rows) -> Tensor:
        """Mean squared distance of the domains' running variances from their mean."""
        layout, logits = rows.layout, full_precision(rows.logits)
        true = torch.zeros_like(logits).scatter_(1, layout.labels[:, None], 1.0)
        residuals = layout.by_domain(logits.softmax(dim=1) - true)
        features = layout.by_domain(rows.own_features)
        count = residuals.shape[1]
        mean = torch.einsum("dbk,dbp->dkp", residuals, features) / count
        squares = torch.einsum("dbk,dbp->dkp", residuals.pow(2), features.pow(2)) / count
        bias = self._running(self.of_bias, residuals.var(dim=1, correction=0))
        weight = self._running(self.of_weight, squares - mean.pow(2))
        distances = torch.cat([(each - each.mean(dim=0)).pow(2).flatten(1) for each in (bias, weight)], dim=1)
        return distances.mean()

    def _running(self, held: Tensor, now: Tensor) -> Tensor:
        """What `held` becomes with the variances `now`, with a gradient, over 1 - ema, as the release has it."""
        ema = self.config.ema
        running = ema * held.to(now.dtype) + (1 - ema) * now
        held.copy_(running.detach())
        return running / (1 - ema)


class Sd(Penalized):
    """Spectral decoupling (Pezeshki et al. 2021): the mean squared logit."""

    def __init__(self, config: SdConfig, sources: SourceDomains) -> None:
        super().__init__()
        self._weight = config.penalty_weight

    def weight(self, step: int) -> float:
        """The same in every step."""
        return self._weight

    def penalty(self, rows: Rows) -> Tensor:
        """Over rows and classes."""
        return full_precision(rows.logits).pow(2).mean()
