"""Penalties on the difference of two groups' features: their first moments, or all of them by kernels.

Groups are the source domains (CORAL, MMD), or rows before and after a random cut in each domain (CausIRL).
"""

import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ndcl.algorithm_configs.alignment import (
    CausIrlCoralConfig,
    CausIrlMmdConfig,
    CoralConfig,
    MatchingConfig,
    MmdConfig,
)
from ndcl.algorithms.base import Rows, SourceDomains, generator
from ndcl.algorithms.penalized import Penalized
from ndcl.batch import Layout, to_device

KERNEL_SCALES = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
"""Factors on the squared distance in the exponent of each Gaussian kernel, as in the release."""
_CUTS = 4  # keeps the cuts apart from other draws for the same (seed, step)


def moment_distance(first: Tensor, second: Tensor) -> Tensor:
    """0-d: mean squared difference of the means, plus that of the covariances, of features [n, P] and [m, P].

    Sun and Saenko 2016 have the covariances alone, divided by 4 P^2; this is the release's. A single row has no
    covariance, and counts with 0.
    """
    (mean, covariance), (other_mean, other_covariance) = _moments(first), _moments(second)
    return (mean - other_mean).pow(2).mean() + (covariance - other_covariance).pow(2).mean()


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [P] and covariance [P, P], unbiased."""
    mean = features.mean(dim=0)
    centred = features - mean
    return mean, centred.T @ centred / max(len(features) - 1, 1)


def kernel_means(features: Tensor, averaging: Tensor, scales: tuple[float, ...] = KERNEL_SCALES) -> Tensor:
    """[G, G] mean over all pairs of rows of two groups of the sum of Gaussian kernels (Gretton et al. 2012).

    Args:
        features: [n, P].
        averaging: [G, n], row g with 1 over the group's size at its rows, else 0.
        scales: factors on the squared distance.
    """
    # distances as differences of products need more digits than float32 has: the widest scale multiplies them by 1000
    points = features.double()
    points = points - points.detach().mean(dim=0)
    squares = points.pow(2).sum(dim=1)
    distances = (squares[:, None] + squares[None, :] - 2 * points @ points.T).clamp(min=1e-30)
    kernels = torch.stack([torch.exp(-scale * distances) for scale in scales]).sum(dim=0)
    averaging = averaging.double()
    return (averaging @ kernels @ averaging.T).to(features.dtype)


def discrepancy(means: Tensor, first: int, second: int) -> Tensor:
    """0-d: squared maximum mean discrepancy, biased, of two groups by the `kernel_means` of all."""
    return means[first, first] + means[second, second] - 2 * means[first, second]


class _Matching(Penalized):
    def __init__(self, config: MatchingConfig, sources: SourceDomains) -> None:
        super().__init__()
        self.config, self.sources = config, sources
        self.sees_features = True

    def weight(self, step: int) -> float:
        """The same in every step."""
        return self.config.penalty_weight

    def groups(self, layout: Layout, step: int) -> list[NDArray[np.int64]]:
        """Rows of each group."""
        return list(np.arange(layout.num_rows).reshape(layout.num_domains, -1))


class _ByMoments(_Matching):
    def penalty(self, rows: Rows) -> Tensor:
        """The mean over pairs of groups."""
        features, groups = rows.own_features, self.groups(rows.layout, rows.step)
        parts = [features[to_device(group, features.device)] for group in groups]
        pairs = [moment_distance(a, b) for a, b in itertools.combinations(parts, 2)]
        return torch.stack(pairs).mean() if pairs else (features * 0.0).sum()


class _ByKernels(_Matching):
    def penalty(self, rows: Rows) -> Tensor:
        """The mean over pairs of groups."""
        features, groups = rows.own_features, self.groups(rows.layout, rows.step)
        if len(groups) < 2:
            return (features * 0.0).sum()
        averaging = np.zeros((len(groups), len(features)))
        for number, group in enumerate(groups):
            averaging[number, group] = 1 / len(group)
        means = kernel_means(features, to_device(averaging, features.device))
        pairs = itertools.combinations(range(len(groups)), 2)
        return torch.stack([discrepancy(means, *pair) for pair in pairs]).mean()


class _RandomGroups(_Matching):
    def cuts(self, layout: Layout, step: int) -> NDArray[np.int64]:
        """[D] where each domain's rows are cut: 0 to B - 1."""
        per_domain = layout.num_rows // layout.num_domains
        return generator(self.sources.seed, step, _CUTS).integers(per_domain, size=layout.num_domains)

    def groups(self, layout: Layout, step: int) -> list[NDArray[np.int64]]:
        """Rows before the cuts, and the others; none if either has fewer than two."""
        positions = np.arange(layout.num_rows).reshape(layout.num_domains, -1)
        is_before = (positions - positions[:, :1] < self.cuts(layout, step)[:, None]).reshape(-1)
        groups = [np.flatnonzero(is_before), np.flatnonzero(~is_before)]
        return groups if min(map(len, groups)) > 1 else []


class Coral(_ByMoments):
    """Correlation alignment (Sun and Saenko 2016), between each two source domains."""

    def __init__(self, config: CoralConfig, sources: SourceDomains) -> None:
        super().__init__(config, sources)


class Mmd(_ByKernels):
    """Maximum mean discrepancy (Li et al. 2018), between each two source domains."""

    def __init__(self, config: MmdConfig, sources: SourceDomains) -> None:
        super().__init__(config, sources)


class CausIrlCoral(_RandomGroups, _ByMoments):
    """CausIRL (Chevalley et al. 2022) by moments."""

    def __init__(self, config: CausIrlCoralConfig, sources: SourceDomains) -> None:
        super().__init__(config, sources)


class CausIrlMmd(_RandomGroups, _ByKernels):
    """CausIRL (Chevalley et al. 2022) by kernels."""

    def __init__(self, config: CausIrlMmdConfig, sources: SourceDomains) -> None:
        super().__init__(config, sources)
