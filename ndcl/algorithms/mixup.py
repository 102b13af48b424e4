"""Mixup between source domains: rows and labels of two domains, mixed by one coefficient for the pair."""

from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ndcl.algorithm_configs.invariance import MixupConfig
from ndcl.algorithms.base import Algorithm, Loss, Rows, SourceDomains, generator
from ndcl.batch import Layout, to_device
from ndcl.losses import full_precision
from ndcl.mixing import MixupPlan

_STREAM = 6  # keeps these draws apart from others for the same (seed, step)


class Mixup(Algorithm):
    """Mixup (Zhang et al. 2018) of each domain's rows with those of the next in a random order (Xu et al. 2020)."""

    def __init__(self, config: MixupConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.config, self.sources = config, sources

    def draws(self, num_domains: int, step: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """[D] the domains in their order, and [D] the share of each of them in the mixture with the next."""
        draws = generator(self.sources.seed, step, _STREAM)
        order = draws.permutation(num_domains)
        return order, draws.beta(self.config.alpha, self.config.alpha, size=num_domains)

    def pairs(self, layout: Layout, step: int) -> MixupPlan:
        """Row r is mixed with the row at its place in the domain that follows its own."""
        order, betas = self.draws(layout.num_domains, step)
        partner, share = np.empty_like(order), np.empty(len(order))
        partner[order], share[order] = np.roll(order, -1), betas
        per_domain, rows = layout.num_rows // layout.num_domains, np.arange(layout.num_rows)
        others = partner[layout.host_domains] * per_domain + rows % per_domain
        positive, negative = to_device(np.stack([rows, others]), layout.device)
        weight = to_device(share[layout.host_domains], layout.device)
        return MixupPlan(
            positive=positive,
            negative=negative,
            second_negative=negative,
            weight=weight,
            blend=torch.ones_like(weight),
            labels=layout.labels,
            has_rows=torch.ones_like(positive, dtype=torch.bool),
            shared_weight=float(betas.mean()),
        )

    def loss(self, rows: Rows) -> Loss:
        """The mean over rows of the cross-entropy for both labels, by their shares."""
        plan, logits, labels = cast(MixupPlan, rows.made), full_precision(rows.logits), rows.layout.labels
        first, second = (
            F.cross_entropy(logits, labels[each], reduction="none") for each in (plan.positive, plan.negative)
        )
        share = plan.weight.to(logits.dtype)
        total = (share * first + (1 - share) * second).mean()
        return Loss(total=total, terms={"total": total.detach()}, host_terms={"mixup_weight": plan.shared_weight})
