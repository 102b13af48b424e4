"""Generators of imbalanced settings for any data set, equal to the release's on its own tables.

Legend: S source domains, K classes; rank 0 is the largest class of a tail. Every generator makes the training images
[S, K] for one target from what its source domains have, and takes all its randomness from the RandomState given.
Names are settled by (number, name) wherever something is sorted, and fractions of images are cut off, as in the
release.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndcl.errors import UserError, unknown_name
from ndcl.imbalance.sources import SourceCounts
from ndcl.ranges import require
from ndcl.strict import from_dict

Counts = NDArray[np.int64]
Rng = np.random.RandomState


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What all generators know."""

    test_fraction: float = 0.2
    """Part of a class's images that is never used for training."""

    def __post_init__(self) -> None:
        require(0 <= self.test_fraction < 1, "test_fraction", self.test_fraction, "it must be in [0, 1)")

    @property
    def usable(self) -> float:
        """Part of a class's images that may train."""
        return 1 - self.test_fraction


@dataclass(frozen=True, kw_only=True)
class TailParameters(Parameters):
    """A log-logistic tail."""

    tail_shape: float = 3.0
    """Shape of the log-logistic density, above 1; the larger, the smaller the imbalance."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.tail_shape > 1, "tail_shape", self.tail_shape, "it must be greater than 1")


@dataclass(frozen=True, kw_only=True)
class TotalHeavyTailParameters(TailParameters):
    """Of `total_heavy_tail`."""

    smallest_count: int = 1
    """Images that a class has at least in every source domain."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.smallest_count >= 1, "smallest_count", self.smallest_count, "it must be at least 1")


@dataclass(frozen=True, kw_only=True)
class CrossParameters(TailParameters):
    """Of `cross`."""

    middle_share: float = 0.3
    """Class size of the balanced source domain over the mean class size of the others."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.middle_share > 0, "middle_share", self.middle_share, "it must be greater than 0")


@dataclass(frozen=True, kw_only=True)
class DualityParameters(TailParameters):
    """Of `duality`."""

    middle_total: tuple[int, ...] = (40, 50)
    """Least and most images of the balanced source domain, all classes together; drawn in between."""

    def __post_init__(self) -> None:
        super().__post_init__()
        ok = len(self.middle_total) == 2 and 1 <= self.middle_total[0] <= self.middle_total[1]
        require(ok, "middle_total", self.middle_total, "it must be two whole numbers, the smaller one first")


@dataclass(frozen=True, kw_only=True)
class DomainsParameters(Parameters):
    """Of `imbalanced_domains`."""

    counts: dict[str, int] = field(default_factory=dict)
    """Images of every class by source domain; where a domain is not named, as many as all its classes have."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for domain, count in self.counts.items():
            require(count >= 1, f"counts.{domain}", count, "it must be at least 1")


@dataclass(frozen=True, kw_only=True)
class ClassesParameters(TailParameters):
    """Of `imbalanced_classes`."""

    total: int
    """Images of a source domain, all classes together."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.total >= 1, "total", self.total, "it must be at least 1")


def total_heavy_tail(sources: SourceCounts, parameters: TotalHeavyTailParameters, rng: Rng) -> Counts:
    """Label shift that all sources share: class totals follow one tail, each source keeps its share of each class."""
    available, usable = sources.available, parameters.usable
    totals = available.sum(axis=0)
    order = _falling(totals, sources.classes)
    tail = tail_ratios(parameters.tail_shape, len(order))
    counts = np.zeros_like(available)
    for rank, k in enumerate(order):
        wanted = usable * totals[order[0]] / tail[0] * tail[rank] if rank else usable * totals[k]
        wanted = usable * totals[k] if wanted > totals[k] else wanted
        for e, have in enumerate(available[:, k]):
            count = int(wanted * (have / totals[k]))
            count = int(usable * have) if count >= have else count
            counts[e, k] = max(parameters.smallest_count, count)
    return counts


def cross(sources: SourceCounts, parameters: CrossParameters, rng: Rng) -> Counts:
    """Sources that disagree: larger ones have the reversed tail of smaller ones; an odd one, the smallest, is even."""
    order = _rising_sources(sources, "cross")
    half = len(order) // 2
    middle, positive, negative = np.split(order, [len(order) - 2 * half, len(order) - half])
    counts = np.zeros_like(sources.available)
    classes = _falling(sources.available[positive[0]], sources.classes)
    for group, ranked in ((positive, classes), (negative, classes[::-1])):
        for j, e in enumerate(group, start=1):
            counts[e, ranked] = _full_tail(sources.available[e, ranked], parameters, j)
    others = np.concatenate([positive, negative])
    for e in middle:
        least = (parameters.usable * sources.available[e]).astype(np.int64).min()
        counts[e] = int(min(least, parameters.middle_share * counts[others].mean()))
    return counts


def duality(sources: SourceCounts, parameters: DualityParameters, rng: Rng) -> Counts:
    """As `cross`, with domain imbalance on top: the largest source is small and even, reversed ones of random size."""
    available, num_classes = sources.available, len(sources.classes)
    order = _rising_sources(sources, "duality")
    outer = round(len(order) / 3)
    positive, negative, middle = np.split(order, [outer, len(order) - outer])
    counts = np.zeros_like(available)
    classes = _falling(available[positive[0]], sources.classes)
    for j, e in enumerate(positive, start=1):
        counts[e, classes] = _full_tail(available[e, classes], parameters, j)
    largest = counts[positive].sum(axis=1).max()
    low, high = parameters.middle_total
    smallest = max(int(rng.randint(low, high + 1)), num_classes)
    for e in middle:
        counts[e] = np.minimum(-(-smallest // num_classes), available[e])
    for j, e in enumerate(negative, start=1):
        total = round(float(rng.beta(0.5, 0.5, 1)[0]) * (largest - smallest) + smallest)
        counts[e, classes[::-1]] = _tail(total, available[e, classes[::-1]], parameters, j)
    return counts


def imbalanced_domains(sources: SourceCounts, parameters: DomainsParameters, rng: Rng) -> Counts:
    """Balanced classes in sources of different size."""
    for domain in parameters.counts:
        if domain not in (*sources.domains, sources.target):
            raise unknown_name("domain in imbalance.parameters.counts:", domain, (*sources.domains, sources.target))
    per_class = (parameters.usable * sources.available).astype(np.int64).min(axis=1)
    for e, domain in enumerate(sources.domains):
        per_class[e] = parameters.counts.get(domain, per_class[e])
    return np.repeat(per_class[:, None], len(sources.classes), axis=1)


def imbalanced_classes(sources: SourceCounts, parameters: ClassesParameters, rng: Rng) -> Counts:
    """A tail in every source, with a separate random class order in each."""
    num_classes = len(sources.classes)
    tail = tail_ratios(parameters.tail_shape, num_classes)
    counts = [(parameters.total * tail[rng.permutation(num_classes)]).astype(np.int64) for _ in sources.domains]
    return np.maximum(np.stack(counts), 1)


Generator = Callable[[SourceCounts, Any, Rng], Counts]

GENERATORS: dict[str, tuple[Generator, type[Parameters]]] = {
    "total_heavy_tail": (total_heavy_tail, TotalHeavyTailParameters),
    "cross": (cross, CrossParameters),
    "duality": (duality, DualityParameters),
    "imbalanced_domains": (imbalanced_domains, DomainsParameters),
    "imbalanced_classes": (imbalanced_classes, ClassesParameters),
}
"""Setting name to generator and the type of its parameters."""


def generate(setting: str, parameters: dict[str, Any], sources: SourceCounts, rng: Rng) -> Counts:
    """Training images [S, K] by the generator `setting`. Raises UserError for wrong parameters."""
    if setting not in GENERATORS:
        raise unknown_name("generator", setting, GENERATORS)
    for k in np.flatnonzero(sources.available.sum(axis=0) == 0)[:1]:
        raise UserError(
            f"imbalance.setting: {setting} needs images of every class, but with target '{sources.target}' no source "
            f"domain has one of class '{sources.classes[k]}' beside its validation images; use natural"
        )
    generator, parameters_type = GENERATORS[setting]
    return generator(sources, from_dict(parameters_type, parameters, "imbalance.parameters"), rng)


def tail_ratios(shape: float, num_classes: int) -> NDArray[np.float64]:
    """Shares [K] by rank, falling, of sum 1: the log-logistic density from 1/mean to the 99 % quantile."""
    from scipy.stats import fisk  # slow to import, and needed by few settings

    points = np.linspace(1 / fisk.mean(shape), fisk.ppf(0.99, shape), num_classes)
    density = fisk.pdf(points, shape)
    return np.asarray(density / density.sum())


def _full_tail(available: Counts, parameters: TailParameters, number: int) -> Counts:
    """A tail whose first class has all its usable images; `available` [K] by rank."""
    first = tail_ratios(parameters.tail_shape * number, len(available))[0]
    return _tail(parameters.usable * available[0] / first, available, parameters, number)


def _tail(total: float, available: Counts, parameters: TailParameters, number: int) -> Counts:
    """`total` images shared out by a tail that is the flatter the higher the source's `number` (from 1)."""
    ratios = tail_ratios(parameters.tail_shape * number, len(available))
    counts = np.minimum(total * ratios, parameters.usable * available).astype(np.int64)
    return np.asarray(np.maximum(1, counts))


def _falling(numbers: Counts, names: tuple[str, ...]) -> Counts:
    """Positions from the largest number to the smallest; of equal ones the last name comes first."""
    return np.array(sorted(range(len(names)), key=lambda i: (numbers[i], names[i]), reverse=True), np.int64)


def _rising_sources(sources: SourceCounts, setting: str) -> Counts:
    """Positions of the sources from the smallest to the largest. Raises UserError for a single one."""
    if len(sources.domains) < 2:
        raise UserError(f"imbalance.setting: {setting} needs at least 2 source domains, not {len(sources.domains)}")
    return _falling(sources.available.sum(axis=1), sources.domains)[::-1]
