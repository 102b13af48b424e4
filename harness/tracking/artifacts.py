"""The files of an ended trial among MLflow's artifacts, all of its selected checkpoint.

Legend: K classes.
"""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.records import TrialRecord, best_checkpoint
from harness.records.record import CONFUSION
from harness.report.analysis.confusion import class_names, confusion_of
from harness.report.figures.confusion import draw_confusion
from harness.tracking.contents import per_class_accuracies

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

MAX_DIGEST_LENGTH = 36
"""Set by MLflow; runs have the whole digest in the tag `data_digest`."""


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


def data_input(facts: dict[str, Any]) -> "DatasetInput":
    """The data set of a trial with these facts (`harness.trials.environment.data_facts`) as an input of its run.

    Target domain and class counts are the trial's, not the data set's, and so are not part of it.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data_set = Dataset(
        name=facts["name"],
        digest=facts["digest"][:MAX_DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": facts["folder"]}),
        profile=json.dumps({key: facts[key] for key in ("num_images", "domains", "classes", "digest")}),
    )
    return DatasetInput(data_set, [InputTag("mlflow.data.context", "training")])
