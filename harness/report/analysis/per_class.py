"""Accuracy on the unseen domain class by class, of what each study settled on.

Legend: K classes, in id order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from harness.records import TrialRecord, best_checkpoint
from harness.report.analysis.cells import Cell, cell_of, mean_of
from harness.report.analysis.confusion import class_names


@dataclass(frozen=True, kw_only=True)
class PerClass:
    """Of one study, or the mean of several."""

    classes: tuple[str, ...]
    """[K] names; their ids where the records have no names."""
    training_images: tuple[float, ...] | None
    """[K] images of all source domains together; of several studies their mean. None where records don't say it."""
    cells: tuple[Cell | None, ...]
    """[K] accuracies; None for a class without test images."""


def per_class_of(shown: Sequence[TrialRecord]) -> PerClass | None:
    """Of the records that count; None if none of them has accuracies by class."""
    checkpoints = [best_checkpoint(record) or {} for record in shown]
    rows = [list(own) for point in checkpoints if (own := point.get("target", {}).get("per_class"))]
    if not rows:
        return None
    columns = [[value for value in column if value is not None] for column in zip(*rows, strict=True)]
    images = shown[0].environment.get("data", {}).get("training_images")
    return PerClass(
        classes=class_names(shown[0], len(columns)),
        training_images=None if images is None else tuple(map(float, images)),
        cells=tuple(cell_of(column, shown) if column else None for column in columns),
    )


def mean_per_class(studies: Sequence[PerClass]) -> PerClass:
    """The mean over several studies, of which there is at least one: those of an algorithm on all unseen domains.

    A class without test images in one of them has the mean over the others.
    """
    cells = [[cell for cell in column if cell is not None] for column in zip(*(s.cells for s in studies), strict=True)]
    images = [study.training_images for study in studies if study.training_images is not None]
    return PerClass(
        classes=studies[0].classes,
        training_images=tuple(map(fmean, zip(*images, strict=True))) if len(images) == len(studies) else None,
        cells=tuple(mean_of(column) if column else None for column in cells),
    )
