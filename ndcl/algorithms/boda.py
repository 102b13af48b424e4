"""BoDA: rows near the centre of their class in every other domain, by distances that class counts calibrate."""

import numpy as np
import torch
from torch import Tensor

from ndcl.algorithm_configs.alignment import CoralConfig
from ndcl.algorithm_configs.invariance import BodaConfig
from ndcl.algorithms.base import Algorithm, Loss, Rows, SourceDomains, total_of
from ndcl.algorithms.matching import Coral
from ndcl.losses import masked_logsumexp


class Boda(Algorithm):
    """Balanced domain-class distribution alignment (Yang, Wang and Katabi 2022, eq. 5), with CORAL as in the release.

    The centre of a (domain, class) pair is the mean feature of its training images, found anew every so often. A pair
    without training images is left out. The penalty begins once there are centres.
    """

    sees_features = True
    centers: Tensor
    counts: Tensor

    def __init__(self, config: BodaConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.config = config
        self.interval = config.refresh_interval(sources.num_steps)
        self.start = max(config.penalty_start(sources.num_steps), self.interval)
        self._coral = Coral(CoralConfig(), sources)
        shape, dtype = (sources.num_domains, sources.num_classes), torch.get_default_dtype()
        counts = np.ones(shape) if sources.counts is None else sources.counts
        self.register_buffer("counts", torch.as_tensor(counts, dtype=dtype), persistent=False)
        self.register_buffer("centers", torch.zeros((*shape, sources.num_features), dtype=dtype))

    def looks_at_all(self, step: int) -> bool:
        """Every `interval` steps."""
        return step > 0 and step % self.interval == 0

    @torch.no_grad()
    def look(self, features: Tensor, labels: Tensor, domains: Tensor, step: int) -> None:
        """Move the centres to the mean features of now: all the way the first time."""
        num_domains, num_classes, _ = self.centers.shape
        cells = domains * num_classes + labels
        sums = torch.zeros_like(self.centers.flatten(0, 1)).index_add_(0, cells, features.to(self.centers.dtype))
        sizes = torch.bincount(cells, minlength=num_domains * num_classes).clamp(min=1).to(sums.dtype)
        found = (sums / sizes[:, None]).view_as(self.centers)
        kept = 0.0 if step == self.interval else self.config.momentum
        self.centers.copy_(kept * self.centers + (1 - kept) * found)

    def loss(self, rows: Rows) -> Loss:
        """Cross-entropy, CORAL, and from its start on the distances to the centres."""
        risk, macro = rows.losses.mean(), self._coral.penalty(rows)
        total, terms = risk + self.config.macro_weight * macro, {"cross_entropy": risk, "coral": macro}
        if rows.step >= self.start:
            terms["boda"] = self._alignment(rows)
            total = total + self.config.penalty_weight * terms["boda"]
        return Loss(total=total, terms=total_of(total=total, **terms))

    def _alignment(self, rows: Rows) -> Tensor:
        features, layout = rows.own_features, rows.layout
        num_domains, num_classes, _ = self.centers.shape
        counts = self.counts.to(features.dtype)
        own = layout.domains * num_classes + layout.labels
        size = counts.flatten()[own].clamp(min=1)[:, None]
        centers = self.centers.flatten(0, 1).to(features.dtype)
        distances = torch.cdist(features, centers, compute_mode="donot_use_mm_for_euclid_dist")
        scale = (counts.flatten()[None, :] / size).pow(self.config.nu)
        scores = -distances / size * scale / self.config.temperature
        cells = torch.arange(num_domains * num_classes, device=features.device)[None, :]
        others = (cells != own[:, None]) & (counts.flatten() > 0)[None, :]
        log_shares = scores - masked_logsumexp(scores, others)[:, None]
        wanted = others & (cells % num_classes == layout.labels[:, None])
        return -torch.where(wanted, log_shares, 0.0).sum() / wanted.sum().clamp(min=1)
