"""What a second look at a study's best trials changed: which was chosen, and by how much. Source domains alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.records import TrialRecord, select
from harness.records.selection import best_merit, criteria, review_of


@dataclass(frozen=True, kw_only=True)
class SecondLook:
    """Of one study."""

    by: str
    """The criterion."""
    num_trials: int
    """Search trials that were looked at."""
    first: int
    """Number of the best of these by the search."""
    chosen: int
    """Number of the best one by the second look."""
    first_value: float
    """The criterion's value of the first; values are fractions."""
    chosen_value: float


def second_look_of(study: Sequence[TrialRecord]) -> SecondLook | None:
    """What the second look found, of all records of a study; None without one that has finished."""
    searched = [record for record in study if record.stage == "search"]
    seen = [(trial, review) for trial in select(searched, len(searched)) if (review := review_of(trial, study))]
    if not seen:
        return None
    first, of_first = seen[0]
    chosen, of_chosen = max(seen, key=lambda each: best_merit(each[1]))
    return SecondLook(
        by=" and ".join(criteria(of_chosen)),
        num_trials=len(seen),
        first=first.number,
        chosen=chosen.number,
        first_value=best_merit(of_first),
        chosen_value=best_merit(of_chosen),
    )
