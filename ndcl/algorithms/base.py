"""The contract of an algorithm: what it asks of the network for a batch, and its loss."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ndcl.batch import Batch, Layout
from ndcl.mixing import MixupPlan
from ndcl.models import Network


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What an algorithm may know of the source domains."""

    frequencies: NDArray[np.float64]
    """[D, K] class frequencies that training sees in each source domain, after resampling. 0: class absent."""
    batch_size: int
    """Rows per source domain in a batch."""
    seed: int
    """Seed of the training."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The value to minimise, and named parts of it for the log."""

    total: Tensor
    """0-d, with a gradient."""
    terms: dict[str, Tensor]
    """0-d each, detached, on the device."""
    host_terms: dict[str, float] = field(default_factory=dict)
    """Values that the host knows anyway."""


class Algorithm(nn.Module):
    """A loss on the logits of a batch and, where `plan` gives one, on those of rows mixed from it.

    Everything is stateless between steps: (seed, step) determines all random draws. Subclasses implement `loss`.
    """

    def mixes(self, layout: Layout) -> bool:
        """Whether `plan` gives one; known before there are logits, so that workers can exchange inputs meanwhile."""
        return False

    def plan(self, logits: Tensor, layout: Layout, step: int) -> MixupPlan | None:
        """Rows to generate for this step from the logits [N, K] of the batch, or None."""
        return None

    def loss(self, logits: Tensor, layout: Layout, mixed_logits: Tensor | None, plan: MixupPlan | None) -> Loss:
        """The loss given the logits [N, K] and, with a plan, those [M, K] of the generated rows."""
        raise NotImplementedError

    def forward(self, network: Network, batch: Batch, step: int) -> Loss:
        """Run the network on the batch, and on what the plan generates; return the loss."""
        logits = network(batch.inputs)
        plan = self.plan(logits, batch.layout, step)
        mixed_logits = None if plan is None else network.forward_mixed(plan.apply(batch.inputs))
        return self.loss(logits, batch.layout, mixed_logits, plan)


def domain_mean(losses: Tensor, weights: Tensor, layout: Layout, num_domains: int) -> Tensor:
    """Mean over domains of each domain's weighted mean of `losses` [N], with `weights` [N]."""
    member = layout.domains[None, :] == torch.arange(num_domains, device=losses.device)[:, None]
    weights = member * weights.to(losses.dtype)
    return ((weights @ losses) / weights.sum(1)).mean()


def log_frequencies(frequencies: NDArray[np.float64]) -> Tensor:
    """[D, K] log of the class frequencies; -inf, and so excluded from the softmax, for a class the domain lacks."""
    with np.errstate(divide="ignore"):
        return torch.from_numpy(np.log(frequencies))
