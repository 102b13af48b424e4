"""Model selection, by the release's rule: which checkpoint of a trial, which trial of a study.

Only source-domain validation is looked at, unless another objective is asked for by name. A value that is missing or
not a number is worse than any other, wherever it stands.
"""

import math
from collections.abc import Iterable
from typing import Any

from harness.records import TrialRecord

DEFAULT_OBJECTIVE = "validation_accuracy"
"""Mean over source domains of the accuracy on their class-balanced validation images."""


def best_checkpoint(record: TrialRecord, objective: str = DEFAULT_OBJECTIVE) -> dict[str, Any] | None:
    """The evaluation with the highest objective, the first of equals; None if no evaluation has a value."""
    valued = [e for e in record.evaluations if _value(e, objective) > -math.inf]
    return max(valued, key=lambda e: _value(e, objective), default=None)


def ranking(records: Iterable[TrialRecord], objective: str = DEFAULT_OBJECTIVE) -> list[TrialRecord]:
    """The records by their best checkpoints, best first; of equals the one with the higher number comes first."""

    def merit(record: TrialRecord) -> tuple[float, int]:
        best = best_checkpoint(record, objective)
        return (-math.inf if best is None else _value(best, objective)), record.number

    return sorted(records, key=merit, reverse=True)


def select(records: Iterable[TrialRecord], objective: str = DEFAULT_OBJECTIVE) -> TrialRecord | None:
    """The best of one study's search trials that ran to their end; None if there is none.

    A pruned trial is not eligible: it was stopped because others at the same step were better, and its values were
    never tried at the full budget.
    """
    ended = [record for record in records if record.stage == "search" and record.state == "finished"]
    ranked = [record for record in ranking(ended, objective) if best_checkpoint(record, objective) is not None]
    return ranked[0] if ranked else None


def _value(evaluation: dict[str, Any], objective: str) -> float:
    value = evaluation.get(objective)
    return -math.inf if value is None or math.isnan(value) else float(value)
