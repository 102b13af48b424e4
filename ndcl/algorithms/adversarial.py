"""DANN and CDANN: a discriminator learns to tell the source domains by their features, and the network to prevent it.

They step in turn, each by an Adam of its own, as in the release; there is no gradient reversal layer.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ndcl.algorithm_configs.alignment import AdversarialConfig, CdannConfig, DannConfig
from ndcl.algorithms.base import Algorithm, Loss, OwnOptimizer, Rows, SourceDomains, total_of
from ndcl.algorithms.networks import Discriminator, seeded


class _Adversarial(Algorithm):
    sees_features = True

    def __init__(self, config: AdversarialConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.config = config
        self.betas = (config.beta1, 0.9)
        self.own_optimizer = OwnOptimizer(
            learning_rate=config.discriminator_learning_rate,
            weight_decay=config.discriminator_weight_decay,
            betas=self.betas,
        )
        self.discriminator = seeded(
            sources.seed,
            lambda: Discriminator(sources.num_features, config.width, config.depth, sources.num_domains),
        )

    def trains_network(self, step: int) -> bool:
        """In one of `discriminator_steps` + 1 steps, the first of all if they alternate."""
        steps = self.config.discriminator_steps
        return (step + 1) % (1 + steps) >= steps

    def inputs(self, rows: Rows) -> Tensor:
        """What the discriminator sees [N, P]."""
        raise NotImplementedError

    def average(self, losses: Tensor, rows: Rows) -> Tensor:
        """0-d of the rows' losses [N]."""
        raise NotImplementedError

    def loss(self, rows: Rows) -> Loss:
        """The discriminator's loss in its steps; else cross-entropy less that loss, weighted."""
        inputs = self.inputs(rows)
        losses = F.cross_entropy(self.discriminator(inputs), rows.layout.domains, reduction="none")
        domain_loss = self.average(losses, rows)
        if self.config.gradient_penalty > 0:
            [slopes] = torch.autograd.grad(losses.sum(), inputs, create_graph=True)
            domain_loss = domain_loss + self.config.gradient_penalty * slopes.pow(2).sum(dim=1).mean()
        risk = rows.losses.mean()
        total = domain_loss
        if self.trains_network(rows.step):
            total = risk - self.config.penalty_weight * domain_loss
        return Loss(total=total, terms=total_of(total=total, cross_entropy=risk, discriminator=domain_loss))


class Dann(_Adversarial):
    """Domain-adversarial neural network (Ganin et al. 2016)."""

    def __init__(self, config: DannConfig, sources: SourceDomains) -> None:
        super().__init__(config, sources)

    def inputs(self, rows: Rows) -> Tensor:
        """The features."""
        return rows.own_features

    def average(self, losses: Tensor, rows: Rows) -> Tensor:
        """The mean over rows."""
        return losses.mean()


class Cdann(_Adversarial):
    """Conditional domain-adversarial network (Li et al. 2018): the discriminator also sees the row's class."""

    def __init__(self, config: CdannConfig, sources: SourceDomains) -> None:
        super().__init__(config, sources)
        self._released = config.released
        self.class_embeddings = seeded(
            sources.seed + 1, lambda: nn.Embedding(sources.num_classes, sources.num_features)
        )

    def inputs(self, rows: Rows) -> Tensor:
        """The features plus an embedding of the class."""
        embeddings: Tensor = self.class_embeddings(rows.layout.labels)
        return rows.own_features + embeddings

    def average(self, losses: Tensor, rows: Rows) -> Tensor:
        """The mean over the classes of the batch of each class's mean."""
        layout = rows.layout
        count = int(layout.host_classes[-1]) + 1 if self._released else layout.num_classes_present
        return (losses / layout.class_size.to(losses.dtype)).sum() / count
