"""CAD and CondCAD: contrastive estimates of what features tell of the domain (Ruan, Dubois and Maddison 2022)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ndcl.algorithm_configs.alignment import CadConfig, CondCadConfig, ContrastiveBottleneckConfig
from ndcl.algorithms.base import Rows, SourceDomains
from ndcl.algorithms.penalized import Penalized
from ndcl.losses import masked_logsumexp

BASE_TEMPERATURE = 0.07
"""The penalty is multiplied by the temperature over this one, as in the release."""


class _Bottleneck(Penalized):
    def __init__(self, config: ContrastiveBottleneckConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.config, self.sees_features = config, True

    def weight(self, step: int) -> float:
        """The same in every step."""
        return self.config.penalty_weight

    def penalty(self, rows: Rows) -> Tensor:
        """The mean of the rows' terms, over the rows that have one; 0 if there is none."""
        features = rows.own_features
        if rows.layout.num_domains == 1:
            return (features * 0.0).sum()
        if self.config.normalize:
            features = F.normalize(features, dim=1)
        scores = features @ features.T / self.config.temperature
        terms, has_term = self.terms(scores, rows)
        factor = self.config.temperature / BASE_TEMPERATURE
        return factor * torch.where(has_term, terms, 0.0).sum() / has_term.sum().clamp(min=1)

    def terms(self, scores: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        """[N] the term of each row, and [N] bool whether it has one, by the scaled products [N, N]."""
        raise NotImplementedError


class Cad(_Bottleneck):
    """CAD: which rows are of one domain. A row without another of its class is left out, as in the release."""

    def __init__(self, config: CadConfig, sources: SourceDomains) -> None:
        super().__init__(config, sources)
        self._released = config.released

    def terms(self, scores: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        """Against all other rows: those of other domains, or, not flipped, those of the own."""
        others, same = rows.layout.not_itself, rows.layout.same_domain
        all_others = masked_logsumexp(scores, others)
        has_peer = (rows.layout.same_class & others).any(dim=1)
        if self.config.flipped:
            return all_others - masked_logsumexp(scores, ~same), has_peer & (~same).any(dim=1)
        if self._released:
            own = masked_logsumexp(torch.where(others, scores, 0.0), same)
        else:
            own, has_peer = masked_logsumexp(scores, same & others), has_peer & (same & others).any(dim=1)
        return own - all_others, has_peer


class CondCad(_Bottleneck):
    """Conditional CAD: among the rows of its class."""

    def __init__(self, config: CondCadConfig, sources: SourceDomains) -> None:
        super().__init__(config, sources)

    def terms(self, scores: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        """Against the other rows of its class: those of other domains, or, not flipped, those of the own."""
        peers = rows.layout.same_class & rows.layout.not_itself
        chosen = peers & (~rows.layout.same_domain if self.config.flipped else rows.layout.same_domain)
        sign = -1.0 if self.config.flipped else 1.0
        return sign * (masked_logsumexp(scores, chosen) - masked_logsumexp(scores, peers)), chosen.any(dim=1)
