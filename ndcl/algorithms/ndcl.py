"""NDCL: compact classes, wide margins against generated hard negatives, one posterior over all domains."""

from typing import cast

import torch
from torch import Tensor

from ndcl.algorithm_configs import NdclConfig
from ndcl.algorithms.base import Algorithm, Loss, Rows, SourceDomains, frequencies_of, log_frequencies
from ndcl.batch import Layout
from ndcl.imbalance import class_weights
from ndcl.losses import (
    full_precision,
    mean_cross_entropy,
    negatives_dominant_margin,
    prototype_alignment,
    reweighted_cross_entropy,
)
from ndcl.mixing import Draws, MixupPlan, Quotas, plan_mixup, quotas


class Ndcl(Algorithm):
    """Negatives-Dominant Contrastive Learning (arXiv 2601.21999): cross-entropy + alpha margin + beta alignment."""

    class_weights: Tensor
    logit_offsets: Tensor | None

    def __init__(self, config: NdclConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.config, self.sources = config, sources
        self.mixes_features = config.mixup_at == "features"
        frequencies = frequencies_of(sources, config.frequencies)
        weights = class_weights(frequencies, config.class_weight_exponent)
        self.register_buffer("class_weights", torch.from_numpy(weights), persistent=False)
        adjusted = config.logit_adjustment > 0
        offsets = config.logit_adjustment * log_frequencies(frequencies) if adjusted else None
        self.register_buffer("logit_offsets", offsets, persistent=False)

    def num_made(self, layout: Layout) -> int:
        """None if the margin has no weight, or the batch a single class."""
        quota = self._quotas(layout)
        return 0 if quota is None else quota.total

    def plan(self, rows: Rows) -> MixupPlan | None:
        """Hard negatives for every class of the batch; None without use or with a single class."""
        quota = self._quotas(rows.layout)
        if quota is None:
            return None
        draws = Draws.from_seed(quota, self.config.mixup, self.sources.seed, rows.step)
        return plan_mixup(rows.logits, rows.layout, quota, draws)

    def loss(self, rows: Rows) -> Loss:
        """cross-entropy + alpha margin + beta alignment."""
        logits, layout = full_precision(rows.logits), rows.layout
        plan = cast(MixupPlan | None, rows.made)
        terms = {
            "cross_entropy": self._cross_entropy(logits, layout),
            "margin": self._margin(logits, layout, rows.made_logits, plan),
            "alignment": prototype_alignment(logits, layout, self.config.alignment_temperature),
        }
        total = terms["cross_entropy"] + self.config.alpha * terms["margin"] + self.config.beta * terms["alignment"]
        named = {"total": total, **terms}
        shared = 0.0 if plan is None else plan.shared_weight
        return Loss(
            total=total,
            terms={name: value.detach() for name, value in named.items()},
            host_terms={"mixup_weight": shared},
        )

    def _cross_entropy(self, logits: Tensor, layout: Layout) -> Tensor:
        if self.config.cross_entropy == "rows":
            weights = self.class_weights if self.config.class_weight_exponent else None
            return mean_cross_entropy(logits, layout, weights, self.logit_offsets)
        hardness = self.config.hardness
        return reweighted_cross_entropy(logits, layout, self.class_weights, self.logit_offsets, hardness)

    def _quotas(self, layout: Layout) -> Quotas | None:
        if layout.num_classes_present == 1 or self.config.alpha == 0:
            return None
        return quotas(layout, self.config.mixup_mode, self.sources.batch_size)

    def _margin(self, logits: Tensor, layout: Layout, mixed_logits: Tensor | None, plan: MixupPlan | None) -> Tensor:
        if plan is None or mixed_logits is None:
            return (logits * 0.0).sum()
        temperature = self.config.margin_temperature
        return negatives_dominant_margin(logits, mixed_logits, plan.labels, plan.has_rows, layout, temperature)
