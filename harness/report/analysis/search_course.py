"""The course of a search: the best value so far, over trials and over the time that they trained."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.records import ENDED, TrialRecord
from harness.records.selection import shown_value


@dataclass(frozen=True, kw_only=True)
class SearchPoint:
    """The state of a search after one more of its trials had ended."""

    num_trials: int
    """Ended so far, those that were pruned or failed included."""
    seconds: float
    """Training time of these, added up over trials that ran side by side."""
    best: float | None
    """Best value of a finished trial so far, by the sweep's own criterion; None before one has finished."""


def search_points(study: Sequence[TrialRecord]) -> tuple[SearchPoint, ...]:
    """The course of one study's search, a point for each trial in the order in which they ended."""
    ended = [record for record in study if record.stage == "search" and record.state in ENDED]
    points: list[SearchPoint] = []
    seconds, best = 0.0, None
    for record in sorted(ended, key=lambda record: (record.ended or 0.0, record.number)):
        seconds += training_seconds(record)
        value = shown_value(record) if record.state == "finished" else None
        best = best if value is None else max(value, best or value)
        points.append(SearchPoint(num_trials=len(points) + 1, seconds=seconds, best=best))
    return tuple(points)


def training_seconds(record: TrialRecord) -> float:
    """Time in training steps over all attempts, without evaluations and start-up, up to the newest checkpoint."""
    return float(record.evaluations[-1].get("seconds") or 0.0) if record.evaluations else 0.0
