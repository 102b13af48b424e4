"""The files of an ended trial among MLflow's artifacts, all of its selected checkpoint.

Legend: K classes.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from harness.confusion_figure import draw_confusion
from harness.records import CONFUSION, TrialRecord
from harness.report_confusion import class_names, confusion_of
from harness.selection import best_checkpoint
from harness.tracking.contents import per_class_accuracies


def write_results(record: TrialRecord, folder: Path) -> bool:
    """Write the per-class table and the confusion matrix into `folder`, a final run's also as a picture.

    Returns whether there was anything to write.
    """
    best = best_checkpoint(record)
    if best is None:
        return False
    facts = record.environment.get("data", {})
    classes = class_names(record, len(best["target"]["per_class"]))
    _write_table(folder / "per_class.csv", *_per_class(best, classes, facts))
    counts = best.get(CONFUSION)
    if counts:
        rows = [[name, *row] for name, row in zip(classes, counts, strict=True)]
        _write_table(folder / "confusion.csv", ["class, taken for", *classes], rows)
        confusion = confusion_of([record])
        if confusion is not None:
            title = f"{record.study.target}: classes (rows) and what they were taken for"
            draw_confusion(confusion, title, [folder / "confusion.png"])
    return True


def _per_class(
    best: dict[str, Any], classes: Sequence[str], facts: dict[str, Any]
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Header and K rows; what a record of an earlier version does not know is left empty."""
    accuracies = per_class_accuracies(best)
    unknown = [None] * len(classes)
    columns = (
        range(len(classes)),
        classes,
        facts.get("groups", unknown),
        facts.get("training_images", unknown),
        accuracies["validation"],
        accuracies["target"],
    )
    header = ["class_id", "class", "shots", "training_images", "validation_accuracy", "target_accuracy"]
    return header, list(zip(*columns, strict=True))


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
