"""Which rows make up the batch of a step: sampling with replacement, resampled towards balance if asked.

Legend: S source domains, K classes, B rows per domain and batch, n_e training images of domain e.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray


class DomainSampler:
    """Draws B rows of each source domain for a step; a pure function of (seed, step), so it needs no checkpoint.

    `labels_per_domain` holds S arrays of class ids, one of each domain's training list, none of them empty.
    With `resampling_ratio` r, a present class is drawn with a probability proportional to count^theta, theta such
    that the largest expected frequency over the smallest is min(r, the domain's own ratio). None leaves the data as
    they are; 1 is class-balanced, as are batches from step `balanced_from` on. `seed_at` gives the seed of
    a step where that is not `seed` at all of them.
    """

    def __init__(
        self,
        labels_per_domain: Sequence[NDArray[np.int64]],
        batch_size: int,
        seed: int,
        resampling_ratio: float | None,
        num_classes: int | None = None,
        balanced_from: int | None = None,
        seed_at: Callable[[int], int] | None = None,
    ) -> None:
        assert all(len(labels) for labels in labels_per_domain), "a source domain without training images"
        classes = num_classes or 1 + max(int(labels.max()) for labels in labels_per_domain)
        counts = np.stack([np.bincount(labels, minlength=classes) for labels in labels_per_domain])
        self.batch_size = batch_size
        self.seed = seed
        self._seed_at = seed_at
        self.frequencies = resampled_frequencies(counts, resampling_ratio)
        """[S, K] class frequencies expected in a batch, before batches are balanced; each row sums to 1."""
        self._cumulative = _cumulative(self.frequencies, counts, labels_per_domain)
        self._balanced_from = balanced_from
        if balanced_from is not None:
            self._balanced = _cumulative(resampled_frequencies(counts, 1.0), counts, labels_per_domain)

    def rows(self, step: int) -> NDArray[np.int64]:
        """Positions [S, B] within each domain's training list; the same for a step whatever was asked before."""
        seed = self.seed if self._seed_at is None else self._seed_at(step)
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, step))))
        draws = generator.random((len(self._cumulative), self.batch_size))
        is_balanced = self._balanced_from is not None and step >= self._balanced_from
        cumulative = self._balanced if is_balanced else self._cumulative
        return np.stack([_invert(total, draw) for total, draw in zip(cumulative, draws, strict=True)])


def _cumulative(
    frequencies: NDArray[np.float64], counts: NDArray[np.int64], labels_per_domain: Sequence[NDArray[np.int64]]
) -> list[NDArray[np.float64]]:
    """Of each domain the running sum over its images of their probabilities, each class's shared by its images."""
    return [
        np.cumsum((frequencies[e] / np.maximum(counts[e], 1))[labels]) for e, labels in enumerate(labels_per_domain)
    ]


def resampled_frequencies(counts: NDArray[np.int64], resampling_ratio: float | None) -> NDArray[np.float64]:
    """Class frequencies [S, K] in the batches for training counts [S, K], see `DomainSampler`."""
    weights = np.zeros(counts.shape)
    for row, count in zip(weights, counts, strict=True):
        present = count > 0
        row[present] = count[present] ** _exponent(count[present], resampling_ratio)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _exponent(present: NDArray[np.int64], ratio: float | None) -> float:
    own = present.max() / present.min()
    if ratio is None or ratio >= own:
        return 1.0
    return float(np.log(ratio) / np.log(own))


def _invert(cumulative: NDArray[np.float64], draws: NDArray[np.float64]) -> NDArray[np.int64]:
    """Draws in [0, 1) to positions; scaled by the sum, which rounding keeps from being exactly 1."""
    positions = np.searchsorted(cumulative, draws * cumulative[-1], side="right")
    return np.asarray(np.minimum(positions, len(cumulative) - 1), np.int64)
