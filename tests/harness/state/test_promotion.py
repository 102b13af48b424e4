"""Whom successive halving promotes, on records written by hand."""

import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.config.search import SchedulerConfig
from harness.plan import StudyPlan
from harness.records import Journal, TrialRecord, select
from harness.records.record import PAUSED
from harness.state import SweepState
from harness.state.promotion import first_stop, is_spent, next_promotion
from tests.made.made_records import base, evaluation, record, study

FIRST, SECOND = 2, 4
"""The rungs; a trial ends at step 8."""


def promoting(num_trials: int = 4, *, factor: int = 2, num_steps: int = 8, name: Any = "asha") -> StudyPlan:
    scheduler = SchedulerConfig(name=name, mode="promote", reduction_factor=factor)
    return study(scheduler=scheduler, num_trials=num_trials, base=base(num_steps=num_steps), final_seeds=())


def waiting(number: int, accuracy: float | None, step: int = FIRST, **changes: Any) -> TrialRecord:
    steps = tuple(range(2, step + 1, 2))
    return record(number, "waiting", accuracy, steps=steps, **({"until": step} | changes))


def running(number: int, accuracy: float | None = 0.5, step: int = 0, until: int | None = FIRST) -> TrialRecord:
    return dataclasses.replace(waiting(number, accuracy, step), state="running", until=until)


def whom(plan: StudyPlan, *records: TrialRecord) -> tuple[int, int | None] | None:
    """The number of the trial that is promoted, and how far."""
    found = next_promotion(plan, records)
    return None if found is None else (found.number, found.until)


def test_nobody_is_promoted_before_a_rung_has_as_many_as_the_factor() -> None:
    plan = promoting(9, factor=3)
    assert whom(plan, waiting(0, 0.9), waiting(1, 0.8)) is None
    assert whom(plan, waiting(0, 0.7), waiting(1, 0.9), waiting(2, 0.8)) == (1, 3 * FIRST)


def test_the_highest_rung_comes_first_and_its_best_goes_to_the_end() -> None:
    low = (waiting(0, 0.99), waiting(1, 0.1))
    high = (waiting(2, 0.3, SECOND), waiting(3, 0.4, SECOND))
    assert whom(promoting(9), *low, *high) == (3, None)
    assert whom(promoting(9), *low, high[0]) == (0, SECOND), "one alone is no half of a rung"


def test_those_that_were_promoted_count_among_the_best_of_the_rung_that_they_left() -> None:
    gone = running(0, 0.9, FIRST, until=SECOND)
    assert whom(promoting(9), gone, waiting(1, 0.8), waiting(2, 0.7)) is None, "the one best of three has gone"
    assert whom(promoting(9), gone, waiting(1, 0.8), waiting(2, 0.7), waiting(3, 0.1)) == (1, SECOND)
    failed = record(0, "failed", 0.9, steps=(FIRST,))
    assert whom(promoting(9), failed, waiting(1, 0.8), waiting(2, 0.7)) is None


def test_a_later_trial_that_is_better_is_promoted_though_a_worse_one_was() -> None:
    finished = record(0, "finished", 0.5, steps=(2, 4, 6, 8))
    assert whom(promoting(9), finished, waiting(1, 0.9), waiting(2, 0.8), waiting(3, 0.4)) == (1, SECOND)


def test_of_equals_the_one_that_began_first_is_promoted() -> None:
    assert whom(promoting(9), waiting(1, 0.5), waiting(0, 0.5)) == (0, SECOND)


def test_what_counts_is_the_value_at_the_rung_and_not_a_later_one() -> None:
    fell = dataclasses.replace(
        running(0, 0.9, FIRST, until=SECOND),
        evaluations=(*waiting(0, 0.9).evaluations, *waiting(0, 0.1, SECOND).evaluations[1:]),
    )
    assert whom(promoting(9), fell, waiting(1, 0.5), waiting(2, 0.4)) is None


def test_a_trial_without_a_value_is_never_promoted() -> None:
    assert whom(promoting(2), waiting(0, None), waiting(1, None)) is None
    assert is_spent(promoting(2), [waiting(0, None), waiting(1, None)])


def test_a_study_ends_when_all_have_begun_and_nobody_can_be_promoted() -> None:
    plan = promoting(3)
    finished = record(0, "finished", 0.9, steps=(2, 4, 6, 8))
    rest = (waiting(1, 0.4), waiting(2, 0.3))
    assert is_spent(plan, [finished, *rest])
    assert not is_spent(promoting(4), [finished, *rest]), "one has not begun"
    assert not is_spent(plan, [finished, rest[0], running(2)])
    assert not is_spent(plan, [finished, rest[0], dataclasses.replace(rest[1], state="interrupted")])
    assert not is_spent(plan, [finished, waiting(1, 0.95), rest[1]]), "one can be promoted"


def test_if_none_of_a_bracket_would_finish_the_best_of_its_highest_rung_does() -> None:
    plan = promoting(4, factor=4)
    high = running(0, 0.9, FIRST, until=8)
    assert whom(plan, high, waiting(1, 0.8), waiting(2, 0.7), waiting(3, 0.6)) is None, "one is on its way"
    failed = record(0, "failed", 0.9, steps=(FIRST,))
    assert whom(plan, failed, waiting(1, 0.8), waiting(2, 0.7), waiting(3, 0.6)) == (1, None)
    assert whom(plan, failed, waiting(1, 0.8), waiting(2, 0.7)) is None, "one has not begun"
    longer, higher = promoting(3, factor=3, num_steps=20), (waiting(0, 0.1, 6), waiting(1, 0.1, 6))
    assert whom(longer, *higher, waiting(2, 0.05)) == (0, 18)


def test_brackets_of_hyperband_are_compared_each_for_itself() -> None:
    plan = promoting(9, name="hyperband")
    stops = [first_stop(plan, number) for number in range(8)]
    assert set(stops) == {2, 4, None}, "the last bracket stops nowhere"
    low = [number for number, stop in enumerate(stops) if stop == 2]
    other = stops.index(4)
    assert whom(plan, waiting(low[0], 0.4), waiting(other, 0.9, 4)) is None
    assert whom(plan, waiting(low[0], 0.4), waiting(low[1], 0.3), waiting(other, 0.9, 4)) == (low[0], 4)


def test_each_bracket_has_one_that_finishes() -> None:
    plan = promoting(4, name="hyperband", factor=3, num_steps=6)
    assert [first_stop(plan, number) for number in range(4)] == [2, None, 2, None]
    finished, failed = record(1, "finished", 0.9, steps=(2, 4, 6)), record(3, "failed", steps=())
    assert whom(plan, waiting(0, 0.1), finished, running(2), failed) is None
    assert whom(plan, waiting(0, 0.1), finished, waiting(2, None), running(3)) == (0, None), "the other bracket's"


def test_other_schedulers_promote_nobody() -> None:
    plan = study(scheduler=SchedulerConfig(name="asha", reduction_factor=2), num_trials=9)
    assert whom(plan, waiting(0, 0.9), waiting(1, 0.8)) is None
    assert first_stop(plan, 0) is None
    assert not is_spent(plan, [])


def due(plan: StudyPlan, records: Sequence[TrialRecord]) -> tuple[int, int | None] | None:
    found = SweepState([plan], records, select).next()
    if found is None:
        return None
    return found.number, found.interrupted.until if found.interrupted else first_stop(plan, found.number)


def test_a_free_slot_goes_to_the_interrupted_then_to_a_promotion_then_to_a_new_trial() -> None:
    plan, pair = promoting(9), (waiting(0, 0.9), waiting(1, 0.8))
    cut_off = dataclasses.replace(running(2), state="interrupted")
    assert due(plan, [*pair, cut_off]) == (2, FIRST)
    assert due(plan, pair) == (0, SECOND)
    assert due(plan, [running(0, 0.9, FIRST, until=SECOND), pair[1]]) == (2, FIRST)
    assert due(promoting(2), [running(0, 0.9, FIRST, until=SECOND), pair[1]]) is None


def test_trials_that_wait_are_no_failures_and_keep_a_study_from_being_stopped_for_others() -> None:
    failed = [record(number, "failed", steps=()) for number in range(3)]
    state = SweepState([promoting(9)], [*failed, waiting(3, 0.5)], select)
    assert state.stop_reason(state.studies[0]) is None
    state = SweepState([promoting(9)], failed, select)
    assert str(state.stop_reason(state.studies[0])).startswith("3 of 3 trials failed")


def test_whoever_reads_the_same_records_decides_the_same(tmp_path: Path) -> None:
    plan, journal = promoting(9), Journal(tmp_path)
    for each in (waiting(0, 0.7), waiting(1, 0.9), waiting(2, 0.6, SECOND), waiting(3, 0.8)):
        journal.write(each)
    assert due(plan, journal.read()) == due(plan, journal.read()[::-1]) == (1, SECOND)
    found = next_promotion(plan, journal.read())
    assert found is not None
    assert found.notes == {PAUSED: [FIRST]}


@pytest.mark.parametrize("seed", range(20))
def test_at_the_end_the_best_of_every_rung_have_gone_on(seed: int) -> None:
    """A study of 30 trials played with random values and two slots, against the rule read as it is written."""
    draw, plan = random.Random(seed), promoting(30, factor=3, num_steps=54)
    records: dict[int, TrialRecord] = {}
    active: list[int] = []
    while True:
        state = SweepState([plan], records.values(), select)
        while len(active) < 2 and (nxt := state.next(("search",))) is not None:
            started = nxt.interrupted or dataclasses.replace(running(nxt.number), until=first_stop(plan, nxt.number))
            records[nxt.number] = dataclasses.replace(started, state="running")
            state.put(records[nxt.number])
            active.append(nxt.number)
        if not active:
            break
        number = active.pop(draw.randrange(len(active)))
        end = records[number].until or 54
        for step in range(records[number].step + 2, end + 1, 2):
            records[number] = records[number].with_evaluation(evaluation(step, draw.random()))
        records[number] = dataclasses.replace(records[number], state="finished" if end == 54 else "waiting")
    assert is_spent(plan, list(records.values()))
    for rung in (2, 6, 18):
        there = [r for r in records.values() if r.step >= rung]
        value = {r.number: e["validation_accuracy"] for r in there for e in r.evaluations if e["step"] == rung}
        best = sorted(there, key=lambda r: -value[r.number])[: len(there) // 3]
        assert all(r.step > rung for r in best)
    assert any(r.state == "finished" for r in records.values())
