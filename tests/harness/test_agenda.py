"""What is due next, on plans and records made by hand."""

from typing import Any

import pytest

from harness.agenda import Agenda
from harness.plan import StudyPlan
from harness.records import TrialRecord
from harness.selection import select
from tests.harness.made_records import RATE, key, record, study


def agenda(*records: TrialRecord, studies: tuple[StudyPlan, ...] = (study(),)) -> Agenda:
    return Agenda(studies, records, select)


def names_until_done(subject: Agenda, state: Any = "finished") -> list[str]:
    """Run every due trial to its end at once, and tell in which order they came."""
    order = []
    while due := subject.next():
        order.append(due.name)
        values = due.values or {RATE: 1e-3 * (due.number + 1)}
        ended = record(due.number, state, stage=due.stage, of=due.study.key, rate=values[RATE], seed=due.seed)
        subject.put(ended)
        assert len(order) < 100
    assert subject.is_done
    return [name.removeprefix("erm.digits.long_tail-20.") for name in order]


def test_search_comes_first_then_the_seeds_of_the_best() -> None:
    assert names_until_done(agenda()) == [
        *(f"scan.search-00{n}" for n in range(3)),
        *(f"scan.final-00{n}" for n in range(2)),
    ]


def test_studies_take_turns() -> None:
    order = names_until_done(agenda(studies=(study(target="scan"), study(target="sign"))))
    assert order[:4] == ["scan.search-000", "sign.search-000", "scan.search-001", "sign.search-001"]
    assert sorted(order) == sorted(set(order))
    assert len(order) == 10


def test_a_new_trial_asks_the_sampler_and_uses_seed_0() -> None:
    due = agenda().next()
    assert due is not None
    assert (due.values, due.seed, due.interrupted) == (None, 0, None)


def test_interrupted_trials_come_before_all_others_with_their_own_values() -> None:
    stopped = record(1, "interrupted", stage="final", rate=0.005, seed=7, of=key(target="sign"))
    due = agenda(stopped, studies=(study(target="scan"), study(target="sign"))).next()
    assert due is not None
    assert due.name == stopped.name
    assert (due.values, due.seed, due.interrupted) == ({RATE: 0.005}, 7, stopped)


def test_final_runs_wait_for_the_last_search_trial() -> None:
    subject = agenda(record(0), record(1), record(2, "running"))
    assert subject.next() is None
    assert not subject.is_done
    subject.put(record(2, "pruned"))
    due = subject.next()
    assert due is not None
    assert (due.stage, due.number, due.seed) == ("final", 0, 1)


def test_final_runs_repeat_the_selected_values() -> None:
    due = agenda(record(0, accuracy=0.4), record(1, accuracy=0.9), record(2, "pruned", accuracy=0.95)).next()
    assert due is not None
    assert due.values == record(1).values


def test_a_failed_final_run_is_not_repeated() -> None:
    searched = [record(n) for n in range(3)]
    (best,) = select(searched)
    finals = [record(n, "failed", stage="final", rate=best.values[RATE], seed=n + 1) for n in range(2)]
    assert agenda(*searched, *finals).is_done


def test_an_extended_study_goes_on_and_repeats_the_new_best_only() -> None:
    old = [record(n, accuracy=0.5) for n in range(3)]
    finals = [record(n, stage="final", rate=3e-3, seed=n + 1) for n in range(2)]
    longer = study(num_trials=4, final_seeds=(1, 2, 3))
    subject = agenda(*old, *finals, studies=(longer,))
    due = subject.next()
    assert due is not None
    assert due.name.endswith("search-003")

    subject.put(record(3, accuracy=0.1))
    due = subject.next()
    assert due is not None, "the best is the old one, so only the new seed is missing"
    assert (due.number, due.seed) == (2, 3)

    subject.put(record(3, accuracy=0.9))
    due = subject.next()
    assert due is not None, "another trial is the best, so all its seeds are missing"
    assert (due.number, due.seed, due.values) == (2, 1, record(3).values)


@pytest.mark.parametrize(
    ("failed", "finished", "stops"),
    [(2, 0, False), (3, 0, True), (3, 1, False), (4, 1, False), (5, 1, True), (8, 2, False), (9, 2, True)],
)
def test_a_study_stops_when_most_trials_fail(failed: int, finished: int, stops: bool) -> None:
    records = [record(n, "failed", reason="it broke") for n in range(failed)]
    records += [record(failed + n) for n in range(finished)]
    many = study(num_trials=50)
    subject = agenda(*records, studies=(many,))
    assert (subject.stage_of(many) == "stopped") == stops
    assert (subject.next() is None) == stops
    reason = subject.stop_reason(many)
    assert (reason is None) != stops
    if stops:
        assert reason == f"{failed} of {failed + finished} trials failed; the last one: it broke"


def test_a_stopped_study_leaves_the_others_alone() -> None:
    broken = [record(n, "failed") for n in range(3)]
    order = names_until_done(agenda(*broken, studies=(study(target="scan"), study(target="sign"))))
    assert order == [*(f"sign.search-00{n}" for n in range(3)), *(f"sign.final-00{n}" for n in range(2))]


def test_a_search_without_a_finished_trial_has_no_final_runs() -> None:
    one = study(num_trials=2)
    subject = agenda(record(0, "failed"), record(1, "failed"), studies=(one,))
    assert subject.is_done
    assert subject.stop_reason(one) == "none of its 2 trials finished"


def test_stages() -> None:
    one = study()
    searched = [record(n) for n in range(3)]
    assert agenda(*searched[:2]).stage_of(one) == "search"
    assert agenda(*searched).stage_of(one) == "final"
    finals = [record(n, stage="final", rate=3e-3, seed=n + 1) for n in range(2)]
    assert agenda(*searched, *finals).stage_of(one) == "done"
    finals[1] = record(1, "running", stage="final", rate=3e-3, seed=2)
    assert agenda(*searched, *finals).stage_of(one) == "final"


def test_only_trials_of_the_stages_asked_for_are_due() -> None:
    searched = [record(n) for n in range(3)]
    assert agenda(*searched).next(["search"]) is None
    assert agenda(*searched[:2]).next(["final"]) is None
    stopped = record(0, "interrupted", stage="final", rate=3e-3, seed=1)
    assert agenda(*searched, stopped).next(["search"]) is None
    due = agenda(*searched, stopped).next(["final"])
    assert due is not None
    assert due.name == stopped.name


def test_records_of_other_studies_are_kept_but_never_due() -> None:
    foreign = record(0, "interrupted", of=key(target="elsewhere"))
    subject = agenda(foreign)
    assert subject.records[foreign.name] == foreign
    due = subject.next()
    assert due is not None
    assert due.study.key == key()
