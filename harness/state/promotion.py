"""Successive halving by promotion: Algorithm 2 of Li et al. 2020 (ASHA), as pure decisions on the records of one study.

A search trial trains to the next rung and waits there, with its checkpoint and without occupying anything. Whenever
there is room, the best trial that waits among the best 1/F of a rung is promoted, the highest rung first; if there is
none, a new trial begins. So nothing is stopped for good before the study's trials have all begun and none can be
promoted any more. With hyperband this holds for each bracket.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.plan.rungs import bracket_of, num_brackets, promotes, rungs
from harness.records import TrialRecord
from harness.records.record import PAUSED
from harness.records.selection import merit

if TYPE_CHECKING:
    from harness.plan import StudyPlan


def next_promotion(study: "StudyPlan", records: Sequence[TrialRecord]) -> TrialRecord | None:
    """The trial to resume now, with `until` at its next rung; None if none of the study's search `records` can be.

    Of equals the one with the lower number comes first. Once all trials have begun, in a bracket of which none is on
    its way and none has finished the best of the highest rung continues, though it is not among 1/F.
    """
    if not promotes(study):
        return None
    for step, bracket in _ladders(study, records):
        there = [(record, value) for record in records if (value := _value(study, record, step, bracket)) is not None]
        ranked = sorted(there, key=lambda pair: (-pair[1], pair[0].number))
        best = ranked[: len(ranked) // study.scheduler.reduction_factor]
        found = next((record for record, value in best if value > -math.inf and _waits_at(record, step)), None)
        if found is not None:
            return promoted(study, found)
    return _last_resort(study, records)


def promoted(study: "StudyPlan", record: TrialRecord) -> TrialRecord:
    """The record of a trial that waits, as it continues: to its next rung, or to its end."""
    until = next((step for step in rungs(study, record.number) if step > record.step), None)
    return replace(after_pause(record), until=until)


def after_pause(record: TrialRecord) -> TrialRecord:
    """The record with a note of the rung at which it waits now."""
    return replace(record, notes={**record.notes, PAUSED: [*record.notes.get(PAUSED, ()), record.step]})


def first_stop(study: "StudyPlan", number: int) -> int | None:
    """Step at which a new search trial waits for its promotion; None: it trains to its end, or until it is stopped."""
    return next(iter(rungs(study, number)), None) if promotes(study) else None


def has_waited(record: TrialRecord) -> bool:
    """Whether a trial has come to a rung, where it waits or from which it has been promoted."""
    return record.is_waiting or PAUSED in record.notes


def is_spent(study: "StudyPlan", records: Sequence[TrialRecord]) -> bool:
    """Whether all of the study's trials have begun, none is on its way, and none that waits can be promoted."""
    have_stopped = len(records) >= study.num_trials and all(record.has_stopped for record in records)
    return promotes(study) and have_stopped and next_promotion(study, records) is None


def _last_resort(study: "StudyPlan", records: Sequence[TrialRecord]) -> TrialRecord | None:
    if len(records) < study.num_trials:
        return None
    for bracket in range(num_brackets(study)):
        own = [record for record in records if bracket_of(study, record.number) == bracket]
        if any(record.state == "finished" for record in own) or not all(record.has_stopped for record in own):
            continue
        waiting = [(record, merit(record.evaluations[-1], study.objectives)) for record in own if record.is_waiting]
        valued = [(record, value) for record, value in waiting if value > -math.inf]
        if valued:
            return promoted(study, max(valued, key=lambda pair: (pair[0].step, pair[1], -pair[0].number))[0])
    return None


def _ladders(study: "StudyPlan", records: Iterable[TrialRecord]) -> list[tuple[int, int]]:
    """Step and bracket of each rung at which a trial waits, the highest first."""
    waiting = {(record.step, bracket_of(study, record.number)) for record in records if record.is_waiting}
    return sorted(waiting, reverse=True)


def _waits_at(record: TrialRecord, step: int) -> bool:
    return record.is_waiting and record.step == step


def _value(study: "StudyPlan", record: TrialRecord, step: int, bracket: int) -> float | None:
    """What the record is worth at a rung; None if it has not come there, or is of another bracket."""
    if bracket_of(study, record.number) != bracket:
        return None
    return next((merit(e, study.objectives) for e in record.evaluations if e["step"] == step), None)
