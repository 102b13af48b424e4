"""Classifier retraining: features are learned on the data as they are, then a new head on balanced classes."""

import torch.nn.functional as F
from torch import Tensor, nn

from ndcl.algorithm_configs.long_tail import CrtConfig
from ndcl.algorithms.base import SourceDomains
from ndcl.algorithms.baselines import Baseline
from ndcl.algorithms.networks import seeded
from ndcl.batch import Layout


class Crt(Baseline):
    """cRT (Kang et al. 2020, section 4.1): mean cross-entropy, at the end of a new head alone, on balanced batches.

    The backbone is then left as it is, in evaluation mode. Batches are balanced where the config says so, by the
    sampler.
    """

    def __init__(self, config: CrtConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.sources, self.start = sources, config.balanced_from(sources.num_steps)

    def value(self, logits: Tensor, layout: Layout) -> Tensor:
        """The mean over rows."""
        return F.cross_entropy(logits, layout.labels)

    def trains_backbone(self, step: int) -> bool:
        """Until the new head's start."""
        return step < self.start

    def new_head(self, step: int) -> tuple[Tensor, Tensor] | None:
        """One with initial weights, at its start."""
        if step != self.start:
            return None
        head = seeded(self.sources.seed, lambda: nn.Linear(self.sources.num_features, self.sources.num_classes))
        return head.weight, head.bias

    def restarts_optimizer(self, step: int) -> bool:
        """At the start: its moments are those of the old head."""
        return step == self.start
