"""The quantities that the paper's bound on the target error is made of, measured on a network's logits.

They are the decision margins, and how far the posteriors of a class differ between domains (Cao, Liu and Chen, arXiv
2601.21999). All are cheap beside the forward passes that gave the logits, and none is used in training or selection.

Legend: n images, K classes, D domains.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ndcl.imbalance.shots import SHOT_GROUPS

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
SUMMARY = ("mean", *(f"q{100 * quantile:02.0f}" for quantile in QUANTILES))
"""Names of the numbers that describe a distribution of margins."""
_DIGITS = 5
"""Significant digits of a margin in JSON, where there are many of them."""

_ROWS = 8192
"""Images whose distributions are in memory at once."""

Summary = tuple[float, ...]
"""In the order of SUMMARY."""


@dataclass(frozen=True, kw_only=True)
class Margins:
    """Decision margins of some images; None where there is none."""

    all: Summary | None
    shots: dict[str, Summary | None]
    """By name in SHOT_GROUPS, over all images of its classes."""
    per_class: tuple[Summary | None, ...]
    """Class id order."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form: `all`, `many` and so on with a mapping each, `per_class` with a list for each of SUMMARY."""
        columns = zip(*(summary or (None,) * len(SUMMARY) for summary in self.per_class), strict=True)
        groups = {"all": self.all, **self.shots}
        return {
            **{name: summary and dict(zip(SUMMARY, summary, strict=True)) for name, summary in groups.items()},
            "per_class": dict(zip(SUMMARY, map(list, columns), strict=True)),
        }


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """Margins and posterior discrepancy at one checkpoint."""

    source_margins: Margins
    """On the validation images of all source domains."""
    target_margins: Margins
    """On the target domain's test images; for reports only, as all that sees the target domain."""
    source_discrepancy: float | None
    """Mean over pairs of source domains of `posterior_discrepancy`; None with a single one."""
    target_discrepancy: float | None
    """Mean over source domains of that between the target domain and each."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "source": {"margins": self.source_margins.to_dict(), "posterior_discrepancy": self.source_discrepancy},
            "target": {"margins": self.target_margins.to_dict(), "posterior_discrepancy": self.target_discrepancy},
        }


def diagnose(
    source: Sequence[tuple[Tensor, NDArray[np.int64]]],
    target: tuple[Tensor, NDArray[np.int64]],
    groups: NDArray[np.int64],
) -> Diagnostics:
    """Diagnostics from logits [n, K] and labels [n] of each source domain and of the target domain.

    `groups` [K] is each class's index in SHOT_GROUPS.
    """
    posteriors = [class_posteriors(logits, labels) for logits, labels in source]
    of_target = class_posteriors(*target)
    source_margins = np.concatenate([decision_margins(logits, labels) for logits, labels in source])
    return Diagnostics(
        source_margins=summarize(source_margins, np.concatenate([labels for _, labels in source]), groups),
        target_margins=summarize(decision_margins(*target), target[1], groups),
        source_discrepancy=_mean([posterior_discrepancy(p, q) for p, q in combinations(posteriors, 2)]),
        target_discrepancy=_mean([posterior_discrepancy(of_target, q) for q in posteriors]),
    )


def decision_margins(logits: Tensor, labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """By how much the true class's logit exceeds the highest other one [n]; negative where the image is misclassified.

    `logits` [n, K], K > 1.
    """
    own = torch.from_numpy(labels).view(-1, 1)
    others = logits.scatter(1, own, -torch.inf)
    margins: NDArray[np.float32] = (logits.gather(1, own).squeeze(1) - others.amax(dim=1)).numpy()
    return margins


def summarize(margins: NDArray[np.float32], labels: NDArray[np.int64], groups: NDArray[np.int64]) -> Margins:
    """Distribution of `margins` [n] over all images, each shot group and each class."""
    order = np.argsort(labels, kind="stable")
    ends = np.cumsum(np.bincount(labels, minlength=len(groups)))[:-1]
    by_class = np.split(margins[order], ends)
    of_image = groups[labels]
    return Margins(
        all=_summary(margins),
        shots={name: _summary(margins[of_image == group]) for group, name in enumerate(SHOT_GROUPS)},
        per_class=tuple(map(_summary, by_class)),
    )


def class_posteriors(logits: Tensor, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean predicted distribution of the images of each class [K, K], as the prototypes of the alignment loss.

    `logits` [n, K]. The row of a class without images is NaN.
    """
    num_classes = logits.shape[1]
    sums = torch.zeros((num_classes, num_classes), dtype=torch.float64)
    for rows, own in zip(torch.split(logits, _ROWS), torch.split(torch.from_numpy(labels), _ROWS), strict=True):
        sums.index_add_(0, own, rows.softmax(dim=1).double())
    counts = np.bincount(labels, minlength=num_classes)[:, None]
    means: NDArray[np.float64] = np.divide(sums.numpy(), counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return means


def posterior_discrepancy(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Mean over classes of the Jensen-Shannon distance between two domains' `class_posteriors`, in [0, 1].

    It is the root of the divergence in bits (Endres and Schindelin 2003). None if no class occurs in both.
    """
    both = ~np.isnan(first[:, 0]) & ~np.isnan(second[:, 0])
    if not both.any():
        return None
    p, q = first[both], second[both]
    divergence = _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2
    return float(np.sqrt(divergence.clip(min=0)).mean())


def _entropy(distributions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row, in bits."""
    logarithms = np.log2(distributions, out=np.zeros_like(distributions), where=distributions > 0)
    return np.asarray(-(distributions * logarithms).sum(axis=1))


def _summary(margins: NDArray[np.float32]) -> Summary | None:
    if len(margins) == 0:
        return None
    values = (margins.mean(dtype=np.float64), *np.quantile(margins, QUANTILES))
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None
