"""NDCL: compact classes, wide margins against generated hard negatives, one posterior over all domains."""

import torch
from torch import Tensor

from ndcl.algorithms.base import Algorithm, Loss, Sources, log_frequencies
from ndcl.batch import Layout
from ndcl.config import NdclConfig
from ndcl.imbalance import class_weights
from ndcl.losses import full_precision, negatives_dominant_margin, prototype_alignment, reweighted_cross_entropy
from ndcl.mixing import Draws, MixupPlan, plan_mixup, quotas


class Ndcl(Algorithm):
    """Negatives-Dominant Contrastive Learning (arXiv 2601.21999): cross-entropy + alpha margin + beta alignment."""

    class_weights: Tensor
    logit_offsets: Tensor | None

    def __init__(self, config: NdclConfig, sources: Sources) -> None:
        super().__init__()
        self.config, self.sources = config, sources
        weights = class_weights(sources.frequencies, config.class_weight_exponent)
        self.register_buffer("class_weights", torch.from_numpy(weights))
        adjusted = config.logit_adjustment > 0
        offsets = config.logit_adjustment * log_frequencies(sources.frequencies) if adjusted else None
        self.register_buffer("logit_offsets", offsets)

    def mixes(self, layout: Layout) -> bool:
        """Unless the margin has no weight, or the batch a single class."""
        return layout.num_classes_present > 1 and self.config.alpha > 0

    def plan(self, logits: Tensor, layout: Layout, step: int) -> MixupPlan | None:
        """Hard negatives for every class of the batch; None without use or with a single class."""
        if not self.mixes(layout):
            return None
        quota = quotas(layout, self.config.mixup_mode, self.sources.batch_size)
        draws = Draws.from_seed(quota, self.config.mixup, self.sources.seed, step)
        return plan_mixup(logits, layout, quota, draws)

    def loss(self, logits: Tensor, layout: Layout, mixed_logits: Tensor | None, plan: MixupPlan | None) -> Loss:
        """cross-entropy + alpha margin + beta alignment."""
        logits = full_precision(logits)
        terms = {
            "cross_entropy": reweighted_cross_entropy(logits, layout, self.class_weights, self.logit_offsets),
            "margin": self._margin(logits, layout, mixed_logits, plan),
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

    def _margin(self, logits: Tensor, layout: Layout, mixed_logits: Tensor | None, plan: MixupPlan | None) -> Tensor:
        if plan is None or mixed_logits is None:
            return (logits * 0.0).sum()
        temperature = self.config.margin_temperature
        return negatives_dominant_margin(logits, mixed_logits, plan.labels, plan.has_rows, layout, temperature)
