"""GINIDG: a generator of features from those of all domains together (Xia, Jing and Ding 2023).

Legend: N rows, B of each of D domains, z their features [N, P]; g generated features [M, P].
"""

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ndcl.algorithm_configs.alignment import GiniDgConfig
from ndcl.algorithms.base import Algorithm, Loss, Rows, SourceDomains, generator, total_of
from ndcl.algorithms.networks import seeded
from ndcl.batch import Layout, to_device

BLOCKS = 6
"""Of B rows that are generated, if D divides it; else the nearest multiple of D."""
_STREAM = 8  # keeps these draws apart from others for the same (seed, step)


class Generator(nn.Module):
    """A variational encoder and a linear decoder: [n, P] and noise [n, latent] -> [n, P]."""

    def __init__(self, size: int, latent: int) -> None:
        super().__init__()
        self.mean, self.log_sigma = nn.Linear(size, latent), nn.Linear(size, latent)
        self.decoder = nn.Linear(latent, size)

    def forward(self, features: Tensor, noise: Tensor) -> Tensor:
        """Generated features; as many blocks of those of `features` [B, P] as `noise` has."""
        repeats = (len(noise) // len(features), 1)
        mean, log_sigma = self.mean(features).repeat(repeats), self.log_sigma(features).repeat(repeats)
        generated: Tensor = self.decoder(F.relu(mean + noise * (1e-8 + log_sigma.exp()).sqrt()))
        return generated


class GiniDg(Algorithm):
    """First the generator learns to resemble the features; then classifier and backbone learn on its rows, too.

    A discriminator tells the domains by the features, and from then on another one real from generated rows; both act
    through reversed gradients. All parts of the loss go back at once: each is cut off from what it is not to move.
    """

    sees_features = True
    has_own_head = True

    def __init__(self, config: GiniDgConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.config, self.sources = config, sources
        self.start = config.in_steps("reconstruction_share", sources.num_steps)
        size, width = sources.num_features, config.width
        self.generator = seeded(sources.seed, lambda: Generator(size, config.latent))
        self.classifier = seeded(sources.seed + 1, lambda: nn.Linear(size, sources.num_classes))
        self.discriminator = seeded(sources.seed + 2, lambda: layers(size, width, width, sources.num_domains))
        self.real_or_not = seeded(sources.seed + 3, lambda: layers(size, width // 4 or 1, 2))

    def own_head(self) -> tuple[Tensor, Tensor]:
        """The classifier."""
        return self.classifier.weight, self.classifier.bias

    def noise(self, num_rows: int, step: int) -> NDArray[np.float64]:
        """[M, latent] standard normal."""
        return generator(self.sources.seed, step, _STREAM).standard_normal((num_rows, self.config.latent))

    def loss(self, rows: Rows) -> Loss:
        """The network's loss, and what the generator and the second discriminator learn beside it."""
        layout, features = rows.layout, rows.own_features
        factor = 2 / (1 + np.exp(-10 * rows.step / max(self.sources.num_steps - 1, 1))) - 1
        risk = F.cross_entropy(self.classifier(features), layout.labels)
        domain_risk = F.cross_entropy(self.discriminator(_reversed(features, factor)), layout.domains)
        network = risk + domain_risk
        noise = to_device(self.noise(_blocks(layout) * len(features) // layout.num_domains, rows.step), features.device)
        noise = noise.to(features.dtype)
        is_early = rows.step < self.start
        parts = self._early(layout, features, noise) if is_early else self._late(layout, features, noise, factor)
        total = network + sum(parts.values())
        terms = total_of(total=total, network=network, cross_entropy=risk, discriminator=domain_risk, **parts)
        return Loss(total=total, terms=terms)

    def _early(self, layout: Layout, features: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """The generator alone learns: to resemble features, and to be told its class."""
        generated, targets = self._generated(layout, features.detach(), noise), features.detach()
        repeats = len(generated) // len(features)
        logits = F.linear(generated, self.classifier.weight.detach(), self.classifier.bias.detach())
        # a gradient of 0, with which its optimiser lets it decay
        idle = torch.stack([parameter.sum() * 0.0 for parameter in self.real_or_not.parameters()]).sum()
        return {
            "reconstruction": (targets.repeat((repeats, 1)) - generated).norm(dim=1).mean() + idle,
            "generated": F.cross_entropy(logits, layout.labels.repeat(repeats)),
        }

    def _late(self, layout: Layout, features: Tensor, noise: Tensor, factor: float) -> dict[str, Tensor]:
        """All learn by the class of generated rows; generator and second discriminator by which rows are real."""
        labels = layout.labels.repeat(len(noise) // len(features))
        apart = self._generated(layout, features.detach(), noise)
        both = _reversed(torch.cat([features.detach(), apart]), factor)
        is_made = torch.cat([torch.zeros_like(layout.labels), torch.ones_like(labels)])
        return {
            "generated": F.cross_entropy(self.classifier(self._generated(layout, features, noise)), labels),
            "real_or_not": F.cross_entropy(self.real_or_not(both), is_made),
        }

    def _generated(self, layout: Layout, features: Tensor, noise: Tensor) -> Tensor:
        """Rows [M, P] from the domains' features taken together."""
        num_domains = 3 if self.config.released else layout.num_domains
        generated: Tensor = self.generator(layout.by_domain(features).sum(dim=0) / num_domains, noise)
        return generated


def _blocks(layout: Layout) -> int:
    num_domains = layout.num_domains
    return BLOCKS if BLOCKS % num_domains == 0 else num_domains * max(round(BLOCKS / num_domains), 1)


def layers(*sizes: int) -> nn.Sequential:
    """Linear layers of these sizes with ReLU between."""
    pairs = itertools.pairwise(sizes)
    return nn.Sequential(*(part for pair in pairs for part in (nn.Linear(*pair), nn.ReLU())))[:-1]


def _reversed(features: Tensor, factor: float) -> Tensor:
    """The same values, whose gradient goes on with its sign changed and times `factor` (Ganin et al. 2016)."""
    return features.detach() - factor * (features - features.detach())
