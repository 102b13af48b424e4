"""Calibration: whether a model's probabilities can be taken at their word.

Legend: n images, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ndcl.strict import to_dict

COLDEST, HOTTEST = 0.1, 10.0
"""Temperatures are looked for between these: few images, all of them right, would have it fall to 0."""
BINS = 15
COVERAGES = 20
"""Shares of the images, from the most confident on, for which it is told how many are right."""
_HALVINGS = 26
"""Of the factor of 100 between the temperatures: one in 10^7 is left."""
_ROWS = 8192
"""Images whose probabilities are in memory at once."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How well probabilities fit what the images are; None without images."""

    nll: float | None
    """Negative log-likelihood, mean over classes."""
    ece: float | None
    """Expected calibration error, in [0, 1]."""
    calibrated_nll: float | None
    """With the logits divided by the temperature."""
    calibrated_ece: float | None


@dataclass(frozen=True, kw_only=True)
class Selective:
    """What is right among the most confident images (selective classification, Geifman and El-Yaniv 2017)."""

    confidences: tuple[float, ...]
    """The lowest confidence in the most confident 1/COVERAGES of the images, in 2/COVERAGES, and so on to all."""
    accuracies: tuple[float, ...]
    """Of these images."""
    num_images: int

    def threshold(self, accuracy: float) -> tuple[float, float] | None:
        """The confidence from which on at least `accuracy` are right, and the share that has it: the largest possible.

        Where all images together are, it is the lowest of theirs, since of a less confident image nothing is known; for
        an accuracy of 0 it is 0. None if not even the most confident images are.
        """
        reached = [number for number, value in enumerate(self.accuracies) if value >= accuracy]
        if not reached:
            return None
        if accuracy == 0:
            return 0.0, 1.0
        return self.confidences[reached[-1]], (reached[-1] + 1) / len(self.accuracies)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Of one network, or of an ensemble."""

    temperature: float
    """Fitted on the validation images of the source domains."""
    source: Fit
    """On the same images."""
    target: Fit
    """On the target domain's test images; for reports only."""
    selective: "Selective | None" = None
    """On the source domains' validation images, at the temperature; None without images."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return to_dict(self)


def calibration_of(
    source: Sequence[tuple[Tensor, NDArray[np.int64]]], target: tuple[Tensor, NDArray[np.int64]]
) -> Calibration:
    """From logits [n, K] and labels [n] of each source domain's validation images and of the target's test images."""
    logits = torch.cat([own for own, _ in source])
    labels = torch.from_numpy(np.concatenate([own for _, own in source]))
    temperature = fit_temperature(logits, labels)
    return Calibration(
        temperature=temperature,
        source=_fit(logits, labels, temperature),
        target=_fit(target[0], torch.from_numpy(target[1]), temperature),
        selective=selective(logits / temperature, labels) if len(labels) else None,
    )


def selective(logits: Tensor, labels: Tensor) -> Selective:
    """From logits [n, K] and labels [n] of at least one image."""
    confidences, predicted = _answers(logits)
    order = torch.argsort(confidences, descending=True, stable=True)
    hits = (predicted == labels).double()[order].cumsum(dim=0)
    ends = [max(1, round(len(labels) * (number + 1) / COVERAGES)) for number in range(COVERAGES)]
    return Selective(
        confidences=tuple(float(confidences[order[end - 1]]) for end in ends),
        accuracies=tuple(float(hits[end - 1] / end) for end in ends),
        num_images=len(labels),
    )


def _fit(logits: Tensor, labels: Tensor, temperature: float) -> Fit:
    if len(labels) == 0:
        return Fit(nll=None, ece=None, calibrated_nll=None, calibrated_ece=None)
    return Fit(
        nll=negative_log_likelihood(logits, labels),
        ece=expected_calibration_error(logits, labels),
        calibrated_nll=negative_log_likelihood(logits / temperature, labels),
        calibrated_ece=expected_calibration_error(logits / temperature, labels),
    )


def _answers(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Confidence [n] in float64 and predicted class [n] of logits [n, K]."""
    parts = [rows.double().softmax(dim=1).max(dim=1) for rows in torch.split(logits, _ROWS)]
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature that divides `logits` [n, K] so that the likelihood of `labels` [n] is highest (Guo et al. 2017).

    The negative log-likelihood is convex in 1 / temperature, so its slope has one zero, which is found by halving. 1
    for no images.
    """
    if len(labels) == 0:
        return 1.0
    logits = logits.double()
    own = logits.gather(1, labels[:, None]).squeeze(1)
    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(_HALVINGS):
        middle = (low * high) ** 0.5
        slope = ((logits * middle).softmax(dim=1) * logits).sum(dim=1) - own
        low, high = (middle, high) if float(slope.mean()) < 0 else (low, middle)
    return float(1 / (low * high) ** 0.5)


def negative_log_likelihood(logits: Tensor, labels: Tensor, *, balanced: bool = True) -> float:
    """Mean over classes, or with `balanced` false over images, of -log of the true class's probability.

    `logits` [n, K], `labels` [n]; at least one image.
    """
    pieces = zip(torch.split(logits, _ROWS), torch.split(labels, _ROWS), strict=True)
    losses = torch.cat([F.cross_entropy(rows.double(), own, reduction="none") for rows, own in pieces])
    if not balanced:
        return float(losses.mean())
    counts = torch.bincount(labels, minlength=logits.shape[1])
    sums = torch.zeros(logits.shape[1], dtype=losses.dtype).index_add_(0, labels, losses)
    return float((sums[counts > 0] / counts[counts > 0]).mean())


def expected_calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Mean gap between confidence and accuracy over BINS bins of equal width, by their images (Guo et al. 2017, eq. 3).

    `logits` [n, K], `labels` [n]; at least one image.
    """
    confidences, predicted = _answers(logits)
    hits = (predicted == labels).double()
    bins = (confidences * BINS).ceil().long().clamp(1, BINS) - 1
    gaps = torch.zeros(BINS, dtype=torch.double).index_add_(0, bins, hits - confidences)
    return float(gaps.abs().sum() / len(labels))
