"""The numbers that a report is made of: accuracies on an unseen target domain, from the records of one study."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.records import TrialRecord, best_checkpoint, chosen_finals, select
from ndcl.criteria import DEFAULT_OBJECTIVE

HEADLINE_METRIC = "overall"
METRICS = ("overall", "balanced", "many", "median", "few")
"""Fields of `ndcl.evaluation.evaluation.Accuracies` that are compared."""
Pair = tuple[str, str]
"""Algorithm and target domain."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of a table, as a fraction."""

    mean: float
    error: float | None = None
    """Standard error over the seeds; None with fewer than two."""
    num_seeds: int = 0
    """0: it stems from the search, since no final run has finished yet."""

    @property
    def provisional(self) -> bool:
        """Whether it stems from the search trial that was selected, not from final runs."""
        return self.num_seeds == 0


def shown_records(study: Sequence[TrialRecord], top_k: int) -> list[TrialRecord]:
    """The finished final runs of what a study settles on; else the selected search trial itself; else nothing.

    `top_k` search trials were repeated as final runs, from which the study chose by source domains alone.
    """
    return chosen_finals(study, top_k) or select(study)


def values_by_seed(shown: Sequence[TrialRecord], metric: str) -> dict[int, float]:
    """Accuracy on the target's test set by training seed, at each record's chosen checkpoint."""
    result = {}
    for record in shown:
        checkpoint = best_checkpoint(record)
        value = checkpoint["target"][metric] if checkpoint else None
        if value is not None:
            result[int(record.config["seed"])] = float(value)
    return result


def source_cell(shown: Sequence[TrialRecord]) -> Cell | None:
    """Accuracy on validation images of the source domains at the chosen checkpoints; None if no record says it."""
    checkpoints = [best_checkpoint(record) or {} for record in shown]
    values = [float(value) for each in checkpoints if (value := each.get(DEFAULT_OBJECTIVE)) is not None]
    return cell_of(values, shown) if values else None


def cell_of(values: Sequence[float], shown: Sequence[TrialRecord]) -> Cell:
    """Mean and standard error over the seeds of `shown`."""
    final = all(record.stage == "final" for record in shown)
    return Cell(mean=statistics.fmean(values), error=standard_error(values), num_seeds=len(values) if final else 0)


def mean_of(cells: Sequence[Cell]) -> Cell:
    """Mean over target domains; the error is that of a mean of independent numbers."""
    errors = [cell.error for cell in cells if cell.error is not None]
    return Cell(
        mean=statistics.fmean(cell.mean for cell in cells),
        error=math.hypot(*errors) / len(cells) if len(errors) == len(cells) else None,
        num_seeds=min(cell.num_seeds for cell in cells),
    )


def standard_error(values: Sequence[float]) -> float | None:
    """Of the mean of independent values; None with fewer than two."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


Values = Mapping[Pair, Mapping[int, float]]
"""Accuracies by algorithm and target domain, and by seed."""
