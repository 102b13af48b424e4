"""Which classes of the unseen domain are taken for which: confusion matrices of the final runs.

Legend: K classes; row k has the test images of class k, column j those of them that were taken for class j.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.records import TrialRecord, best_checkpoint
from harness.records.record import CONFUSION


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """The matrices of one study's final runs, each at its selected checkpoint, added up."""

    counts: tuple[tuple[int, ...], ...]
    """[K][K] test images."""
    classes: tuple[str, ...]
    """[K] names; their ids where the records have no names."""
    num_seeds: int

    @property
    def shares(self) -> NDArray[np.float64]:
        """[K, K]: of each class's images the share taken for each class; a class without images has zeros."""
        counts = np.asarray(self.counts, np.float64)
        shares: NDArray[np.float64] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        return shares

    @property
    def largest_mistake(self) -> tuple[str, str, float] | None:
        """The class that is most often taken for another, that other, and the share; None if there is no mistake."""
        wrong = self.shares * (1 - np.eye(len(self.counts)))
        k, j = divmod(int(wrong.argmax()), len(self.counts))
        return (self.classes[k], self.classes[j], float(wrong[k, j])) if wrong[k, j] > 0 else None


def confusion_of(shown: Sequence[TrialRecord]) -> Confusion | None:
    """Of the final runs among the records that count; None if none of them has a matrix."""
    checkpoints = [best_checkpoint(record) for record in shown if record.stage == "final"]
    found = [np.asarray(point[CONFUSION], np.int64) for point in checkpoints if point and point.get(CONFUSION)]
    if not found:
        return None
    counts = np.sum(found, axis=0)
    return Confusion(
        counts=tuple(tuple(map(int, row)) for row in counts),
        classes=class_names(shown[0], len(counts)),
        num_seeds=len(found),
    )


def sum_of(studies: Sequence[Confusion]) -> Confusion:
    """The images of several studies of the same classes together; there is at least one."""
    counts = np.sum([study.counts for study in studies], axis=0)
    return Confusion(
        counts=tuple(tuple(map(int, row)) for row in counts),
        classes=studies[0].classes,
        num_seeds=min(study.num_seeds for study in studies),
    )


def class_names(record: TrialRecord, num_classes: int) -> tuple[str, ...]:
    """Names of the classes in id order; their ids in a record of an earlier version, which does not know them."""
    return tuple(record.environment.get("data", {}).get("classes") or map(str, range(num_classes)))
