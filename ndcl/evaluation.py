"""Accuracies of a network's predictions: named values, never NaN (None where a group is empty)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHOT_GROUPS = ("many", "median", "few", "zero")


@dataclass(frozen=True, kw_only=True)
class Accuracies:
    """Accuracy of one set of images, each in [0, 1], or None where no image counts."""

    overall: float | None
    balanced: float | None
    """Mean of the per-class accuracies over the classes that occur."""
    worst_class: float | None
    many: float | None
    median: float | None
    few: float | None
    zero: float | None
    per_class: tuple[float | None, ...]
    """Class id order; None for a class without images."""
    num_images: int


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is known at one checkpoint of a training."""

    step: int
    """Optimiser steps done."""
    seconds: float
    """Training time so far without evaluation, over all attempts."""
    losses: dict[str, float]
    """Mean of the loss and its terms since the last evaluation."""
    validation: dict[str, Accuracies]
    """Per source domain, on its class-balanced validation images."""
    target: Accuracies
    """On the unseen target domain; for reports only, never for tuning or selection."""
    oracle: Accuracies | None = None
    """On validation images of the target domain; only where the config asks for the oracle."""

    @property
    def validation_accuracy(self) -> float:
        """Mean over source domains of the overall validation accuracy: the release's selection criterion."""
        return float(np.mean([part.overall for part in self.validation.values()]))

    def to_dict(self) -> dict[str, Any]:
        """JSON form, with `validation_accuracy`."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "losses": dict(self.losses),
            "validation_accuracy": self.validation_accuracy,
            "validation": {domain: _plain(part) for domain, part in self.validation.items()},
            "target": _plain(self.target),
            "oracle": None if self.oracle is None else _plain(self.oracle),
        }


def _plain(part: Accuracies) -> dict[str, Any]:
    return {**vars(part), "per_class": list(part.per_class)}


def accuracies(labels: NDArray[np.int64], predictions: NDArray[np.int64], groups: NDArray[np.int64]) -> Accuracies:
    """Accuracies of `predictions` [n] against `labels` [n]; `groups` [K] is each class's index in SHOT_GROUPS.

    A group's accuracy is the mean of its classes' accuracies, over the classes that occur in `labels`.
    """
    num_classes = len(groups)
    support = np.bincount(labels, minlength=num_classes)
    hits = np.bincount(labels[labels == predictions], minlength=num_classes)
    seen = support > 0
    per_class = np.divide(hits, support, out=np.full(num_classes, np.nan), where=seen)
    shots = {name: _mean(per_class[seen & (groups == g)]) for g, name in enumerate(SHOT_GROUPS)}
    return Accuracies(
        overall=float(hits.sum() / len(labels)) if len(labels) else None,
        balanced=_mean(per_class[seen]),
        worst_class=float(per_class[seen].min()) if seen.any() else None,
        per_class=tuple(float(a) if s else None for a, s in zip(per_class, seen, strict=True)),
        num_images=len(labels),
        **shots,
    )


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None
