"""The contract of an algorithm: what it asks of the network for a batch, its loss, and what it keeps between steps.

A loss sees the outputs of all rows of a batch, whichever worker had them in its network, and its gradient at those
outputs goes back through the network: so whatever is a function of them is exact on any number of workers and in
micro-batches (`ndcl/training/step.py`), without a word about either in the algorithm.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ndcl.algorithm_configs import Frequencies
from ndcl.batch import Batch, Layout
from ndcl.losses import full_precision
from ndcl.mixing import MixupPlan
from ndcl.models import Network


@dataclass(frozen=True, kw_only=True)
class SourceDomains:
    """What an algorithm may know of the source domains and of the training."""

    frequencies: NDArray[np.float64]
    """[D, K] class frequencies that training sees in each source domain, after resampling. 0: class absent."""
    batch_size: int
    """Rows per source domain in a batch."""
    seed: int
    """Seed of the training."""
    num_steps: int = 1
    """Steps of the whole training."""
    num_features: int = 1
    """P: what the head sees of a row."""
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    counts: NDArray[np.int64] | None = None
    """[D, K] training images."""

    @property
    def num_domains(self) -> int:
        """D."""
        return len(self.frequencies)

    @property
    def num_classes(self) -> int:
        """K."""
        return int(self.frequencies.shape[1])


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The value to minimise, and named parts of it for the log."""

    total: Tensor
    """0-d, with a gradient."""
    terms: dict[str, Tensor]
    """0-d each, detached, on the device."""
    host_terms: dict[str, float] = field(default_factory=dict)
    """Values that the host knows anyway."""
    by_domain: Tensor | None = None
    """[D] with a gradient: the risks whose gradients `Algorithm.combine` makes into one; else None."""


class MadeRows(Protocol):
    """How M rows are made of the N rows of a batch, such as a plan of mixup."""

    def __len__(self) -> int: ...

    def of(self, part: slice) -> "MadeRows":
        """Of the made rows in `part` alone."""
        ...

    def mixed(self, features: Tensor) -> Tensor:
        """The made rows [M, P] from all `features` [N, P], with a gradient."""
        ...


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What an algorithm sees of a batch: the outputs of all rows, whichever worker had them in its network."""

    logits: Tensor
    """[N, K]; of an algorithm that `pairs` rows, those of the mixed rows."""
    layout: Layout
    step: int = 0
    """Steps done before this one."""
    features: Tensor | None = None
    """[N, P] what the head sees, for an algorithm with `sees_features`."""
    head: tuple[Tensor, Tensor] | None = None
    """Weight [K, P] and bias [K] of the head, without a gradient, for an algorithm with `sees_head`."""
    made_logits: Tensor | None = None
    """[M, K] of the rows of `made`."""
    made: MadeRows | None = None

    @property
    def own_features(self) -> Tensor:
        """The features [N, P] in full precision, of an algorithm that sees them."""
        assert self.features is not None, "an algorithm that sees features without saying so"
        return full_precision(self.features)

    @property
    def losses(self) -> Tensor:
        """[N] cross-entropy of each row, in full precision."""
        return F.cross_entropy(full_precision(self.logits), self.layout.labels, reduction="none")

    @property
    def risks(self) -> Tensor:
        """[D] mean cross-entropy of each source domain."""
        return self.layout.by_domain(self.losses).mean(dim=1)


@dataclass(frozen=True, kw_only=True)
class OwnOptimizer:
    """The Adam of the parameters that an algorithm owns, where they don't step with the network's."""

    learning_rate: float
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)


class Walk(Protocol):
    """A step of several gradients, at parameters that move in between."""

    num_domains: int
    """D."""
    rows: int
    """B."""
    parameters: list[Tensor]
    """Those of the network that are trained. To be read alone; `move_to` changes them."""

    def gradient(self, domain: int, part: slice | None = None) -> tuple[Tensor, list[Tensor]]:
        """The risk of a source domain's rows, 0-d without a gradient, and its gradient at the parameters of now.

        With `part` of these rows of its B alone; of none both are 0.
        """
        ...

    def curvature(self, domain: int, direction: Sequence[Tensor]) -> list[Tensor]:
        """The Hessian of a source domain's risk, at the parameters of now, times a `direction` shaped as they are."""
        ...

    def move_to(self, values: Sequence[Tensor]) -> None:
        """Give the parameters these values."""
        ...

    def advance(self, gradients: Sequence[Tensor], *, decays: bool = True) -> None:
        """Take a step of the network's optimiser by these gradients; without weight decay where not `decays`."""
        ...


class Algorithm(nn.Module):
    """A loss on the outputs of a batch's rows and, where it makes rows from them, on those of the made ones.

    Subclasses implement `loss`. Parameters are networks of its own: every worker has them all, and their gradient comes
    from the loss alone. Buffers that are saved (`persistent`) are its state between steps, others are constants.
    (seed, step) determines all random draws.
    """

    sees_features = False
    """Whether `Rows` have features, with a gradient in a loss."""
    sees_head = False
    """Whether `Rows` have the head's weights."""
    mixes_features = False
    """Whether `plan` makes rows from features rather than from inputs."""
    combines_domains = False
    """Whether `combine` makes the gradient from those of the domains; the loss then has `by_domain`."""
    parts: "tuple[Algorithm, ...]" = ()
    """Losses whose steps are taken in turn, on one batch; with any, the algorithm has none itself."""
    trains_head = True
    """Whether the network's step moves the head, too."""
    adjusts_head = False
    """Whether `adjusted_head` answers in place of the head that is trained."""
    has_own_head = False
    """Whether `own_head` takes the head's place after each step, which the loss then does without."""
    walks = False
    """Whether a step is `walk`, which takes the optimiser's steps itself, and not a loss."""
    betas = (0.9, 0.999)
    """Of the network's Adam."""
    own_optimizer: OwnOptimizer | None = None
    """None: own parameters step with the network's."""

    def pairs(self, layout: Layout, step: int) -> MixupPlan | None:
        """Rows that take the place of the batch's, made of its inputs by what labels and domains tell; or None."""
        return None

    def num_made(self, layout: Layout) -> int:
        """M of what `plan` gives, 0 for none; known before there are logits, to exchange inputs meanwhile."""
        return 0

    def plan(self, rows: Rows) -> MadeRows | None:
        """Rows to make for this step from the batch's outputs, or None. From inputs it is a MixupPlan."""
        return None

    def loss(self, rows: Rows) -> Loss:
        """The loss, given the outputs of the batch's rows and of the made ones. Called once in each step."""
        raise NotImplementedError

    def walk(self, walk: Walk, step: int) -> Loss:
        """A whole step, its optimiser's steps included."""
        raise NotImplementedError

    def combine(self, gradients: Tensor, step: int) -> Tensor:
        """The gradient [...] of one parameter from those of the D source domains, `gradients` [D, ...]."""
        raise NotImplementedError

    def trains_network(self, step: int) -> bool:
        """Whether this step is the network's; else it is one of the algorithm's own networks alone."""
        return True

    def trains_backbone(self, step: int) -> bool:
        """Whether a step that is the network's moves more than the head; else the backbone is in evaluation mode."""
        return True

    def new_head(self, step: int) -> tuple[Tensor, Tensor] | None:
        """Weight [K, P] and bias [K] that the head is given before this step, or None."""
        return None

    def restarts_optimizer(self, step: int) -> bool:
        """Whether the network's optimiser forgets its moments before this step."""
        return False

    def rate_factor(self, step: int) -> float:
        """Factor on the network's learning rates in this step."""
        return 1.0

    def adjusted_head(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The head that answers, in evaluations and in what is selected and exported, for the trained one.

        Weight [K, P] and bias [K], as the averaged ones where weights are averaged. The training goes on with its own.
        """
        raise NotImplementedError

    def own_head(self) -> tuple[Tensor, Tensor]:
        """Weight [K, P] and bias [K] of the head that its own networks amount to now."""
        raise NotImplementedError

    def looks_at_all(self, step: int) -> bool:
        """Whether `look` is to see the training images before this step."""
        return False

    def look(self, features: Tensor, labels: Tensor, domains: Tensor, step: int) -> None:
        """See the features [n, P] of all training images, the network in evaluation mode, with labels and domains [n].

        All on the device.
        """

    @property
    def has_state(self) -> bool:
        """Whether a checkpoint has anything of it."""
        return bool(self.state_dict())

    def forward(self, network: Network, batch: Batch, step: int) -> Loss:
        """Run the network on the batch, and on what the plan makes; return the loss. One process, one piece."""
        paired = self.pairs(batch.layout, step)
        features = network.features(batch.inputs if paired is None else paired.apply(batch.inputs))
        rows = Rows(
            logits=network.head(features),
            layout=batch.layout,
            step=step,
            features=features if self.sees_features or self.mixes_features else None,
            head=network.head_weights() if self.sees_head else None,
            made=paired,
        )
        made = None if paired is not None else self.plan(rows)
        if made is None:
            return self.loss(rows)
        if self.mixes_features:
            made_logits = network.head(made.mixed(features))
        else:
            assert isinstance(made, MixupPlan), "an algorithm that makes rows of inputs by another plan than mixup's"
            made_logits = network.forward_mixed(made.apply(batch.inputs))
        return self.loss(replace(rows, made=made, made_logits=made_logits))


def joined(losses: Sequence[Loss]) -> Loss:
    """Of the parts of a step: the total of the first, and the terms of all."""
    terms = {name: value for loss in reversed(losses) for name, value in loss.terms.items()}
    return Loss(total=losses[0].total, terms=terms)


def total_of(**terms: Tensor) -> dict[str, Tensor]:
    """`terms`, detached, for the log."""
    return {name: value.detach() for name, value in terms.items()}


def domain_mean(losses: Tensor, weights: Tensor, layout: Layout, num_domains: int) -> Tensor:
    """Mean over domains of each domain's weighted mean of `losses` [N], with `weights` [N]."""
    member = layout.domains[None, :] == torch.arange(num_domains, device=losses.device)[:, None]
    weights = member * weights.to(losses.dtype)
    return ((weights @ losses) / weights.sum(1)).mean()


def frequencies_of(sources: SourceDomains, which: Frequencies) -> NDArray[np.float64]:
    """[D, K] class frequencies of each source domain, or with `pooled` those of all their batches together in each."""
    own = sources.frequencies
    return np.broadcast_to(own.mean(axis=0), own.shape).copy() if which == "pooled" else own


def log_frequencies(frequencies: NDArray[np.float64]) -> Tensor:
    """[D, K] log of the class frequencies; -inf, and so excluded from the softmax, for a class the domain lacks."""
    with np.errstate(divide="ignore"):
        return torch.from_numpy(np.log(frequencies))


def generator(seed: int, step: int, stream: int) -> np.random.Generator:
    """Random numbers that depend on these alone: the same on every worker and after a resume."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, step, stream])))
