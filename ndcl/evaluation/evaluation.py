"""Accuracies of a network's predictions: named values, never NaN (None where a group is empty)."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndcl.criteria import (
    DEFAULT_OBJECTIVE,
    FEW_SHOT,
    LAST_STEP,
    LEAVE_ONE_DOMAIN_OUT,
    LEAVE_ONE_DOMAIN_OUT_LIKELIHOOD,
    ORACLE,
    WORST_DOMAIN,
)
from ndcl.imbalance.shots import SHOT_GROUPS

if TYPE_CHECKING:
    from ndcl.evaluation.calibration import Calibration
    from ndcl.evaluation.diagnostics import Diagnostics

MOST_CONFUSED = 100
"""With more classes a confusion matrix is too large to be kept."""
Confusion = tuple[tuple[int, ...], ...]


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
    confusion: Confusion | None = field(default=None, compare=False, repr=False)
    """Images of each class (rows) that were taken for each (columns); None with more than MOST_CONFUSED classes."""


@dataclass(frozen=True, kw_only=True)
class TargetLook:
    """What the target's test images say of an earlier checkpoint: the best one, looked at when the training ends."""

    step: int
    """Of that checkpoint."""
    target: Accuracies
    diagnostics: "Diagnostics"
    calibration: "Calibration"

    def to_dict(self) -> dict[str, Any]:
        """JSON form: what the evaluation of that step lacks."""
        return {
            "step": self.step,
            "target": _plain(self.target),
            "diagnostics": self.diagnostics.to_dict(),
            "calibration": self.calibration.to_dict(),
        }


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
    """On the unseen target domain; for reports only, never for tuning or selection. Of no image where the config does
    not look at it."""
    oracle: Accuracies | None = None
    """On validation images of the target domain; only where the config asks for the oracle."""
    held_out: dict[str, Accuracies] | None = None
    """Per source domain, of a network trained without it; only in a cross-validation over domains."""
    held_out_nll: dict[str, float | None] | None = None
    """Per source domain, class-balanced negative log-likelihood of the same network."""
    diagnostics: "Diagnostics | None" = None
    """What the bound on the target error is made of; not in a cross-validation over domains."""
    calibration: "Calibration | None" = None
    """Of its probabilities; not in a cross-validation over domains."""
    selected: TargetLook | None = None
    """In the last evaluation, where the config looks at the target once: that of the best checkpoint."""

    @property
    def validation_accuracy(self) -> float:
        """Mean over source domains of the overall validation accuracy: the release's selection criterion."""
        return float(np.mean([part.overall for part in self.validation.values()]))

    def merit(self, criteria: Sequence[str]) -> float | None:
        """Mean of the values of `criteria`, names in CRITERIA; None if any of them has none."""
        return mean_or_none([CRITERIA[name](self) for name in criteria])

    def to_dict(self) -> dict[str, Any]:
        """JSON form, with the value of every criterion."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "losses": dict(self.losses),
            **{name: measure(self) for name, measure in CRITERIA.items() if name != "last_step"},
            "validation": {domain: _plain(part) for domain, part in self.validation.items()},
            "target": _plain(self.target),
            "oracle": None if self.oracle is None else _plain(self.oracle),
            "held_out": self.held_out and {domain: _plain(part) for domain, part in self.held_out.items()},
            "held_out_nll": self.held_out_nll,
            "diagnostics": self.diagnostics and self.diagnostics.to_dict(),
            "calibration": self.calibration and self.calibration.to_dict(),
            **({} if self.selected is None else {"selected": self.selected.to_dict()}),
        }


def with_confusion(evaluation: Evaluation) -> dict[str, Any]:
    """Its JSON form with the `target_confusion`: [K][K] of the target's test images, or None with too many classes.

    That of an earlier checkpoint stands in `selected`.
    """
    values = evaluation.to_dict() | {"target_confusion": _rows(evaluation.target.confusion)}
    if evaluation.selected is not None:
        values["selected"]["target_confusion"] = _rows(evaluation.selected.target.confusion)
    return values


def _rows(confusion: Confusion | None) -> list[list[int]] | None:
    return None if confusion is None else [list(row) for row in confusion]


def mean_or_none(values: Sequence[float | None]) -> float | None:
    """The mean, or None if a value is missing or there is none."""
    present = [value for value in values if value is not None]
    return fmean(present) if present and len(present) == len(values) else None


def mean_accuracies(parts: Sequence[Accuracies]) -> Accuracies:
    """Field by field the mean of those that have a value; `num_images` is the sum."""
    names = ("overall", "balanced", "worst_class", *SHOT_GROUPS)
    means: dict[str, Any] = {name: _mean_of_present(getattr(part, name) for part in parts) for name in names}
    return Accuracies(
        **means,
        per_class=tuple(map(_mean_of_present, zip(*(part.per_class for part in parts), strict=True))),
        num_images=sum(part.num_images for part in parts),
    )


def _mean_of_present(values: Iterable[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return fmean(present) if present else None


def _worst_domain(evaluation: Evaluation) -> float | None:
    values = [part.overall for part in evaluation.validation.values() if part.overall is not None]
    return min(values, default=None)


def _likelihood(losses: dict[str, float | None] | None) -> float | None:
    """exp of minus the mean over domains of these negative log-likelihoods."""
    mean = mean_or_none(list((losses or {}).values()))
    return None if mean is None else math.exp(-mean)


CRITERIA: dict[str, Callable[[Evaluation], float | None]] = {
    DEFAULT_OBJECTIVE: lambda evaluation: evaluation.validation_accuracy,
    WORST_DOMAIN: _worst_domain,
    FEW_SHOT: lambda evaluation: _mean_of_present(part.few for part in evaluation.validation.values()),
    LEAVE_ONE_DOMAIN_OUT: lambda evaluation: mean_or_none(
        [part.balanced for part in (evaluation.held_out or {}).values()]
    ),
    LEAVE_ONE_DOMAIN_OUT_LIKELIHOOD: lambda evaluation: _likelihood(evaluation.held_out_nll),
    ORACLE: lambda evaluation: evaluation.oracle.balanced if evaluation.oracle else None,
    LAST_STEP: lambda evaluation: float(evaluation.step),
}
"""How each criterion of model selection is measured; None where it can't be."""


def _plain(part: Accuracies) -> dict[str, Any]:
    values = {name: value for name, value in vars(part).items() if name != "confusion"}
    return values | {"per_class": list(part.per_class)}


def accuracies(labels: NDArray[np.int64], predictions: NDArray[np.int64], groups: NDArray[np.int64]) -> Accuracies:
    """Accuracies of `predictions` [n] against `labels` [n]; `groups` [K] is each class's index in SHOT_GROUPS.

    A group's accuracy is the mean of its classes' accuracies, over the classes that occur in `labels`.
    """
    num_classes = len(groups)
    support = np.bincount(labels, minlength=num_classes)
    hits = np.bincount(labels[labels == predictions], minlength=num_classes)
    seen = support > 0
    per_class = np.divide(hits, support, out=np.full(num_classes, np.nan), where=seen)
    fits = num_classes <= MOST_CONFUSED
    shots = {name: _mean(per_class[seen & (groups == g)]) for g, name in enumerate(SHOT_GROUPS)}
    return Accuracies(
        overall=float(hits.sum() / len(labels)) if len(labels) else None,
        balanced=_mean(per_class[seen]),
        worst_class=float(per_class[seen].min()) if seen.any() else None,
        per_class=tuple(float(a) if s else None for a, s in zip(per_class, seen, strict=True)),
        num_images=len(labels),
        confusion=_confusion(labels, predictions, num_classes) if len(labels) > 0 and fits else None,
        **shots,
    )


def _confusion(labels: NDArray[np.int64], predictions: NDArray[np.int64], num_classes: int) -> Confusion:
    counts = np.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    return tuple(map(tuple, counts.reshape(num_classes, num_classes).tolist()))


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None
