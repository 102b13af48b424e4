"""What is due next, on plans and records made by hand."""

import dataclasses
from typing import Any

import pytest

from harness.config.search import SecondLook
from harness.plan import StudyPlan
from harness.records import TrialRecord, select
from harness.records.record import AVERAGED
from harness.state import SweepState
from harness.state.study_summary import summary_of
from tests.made.made_records import RATE, key, record, study


def sweep_state(*records: TrialRecord, studies: tuple[StudyPlan, ...] = (study(),)) -> SweepState:
    return SweepState(studies, records, select)


def names_until_done(subject: SweepState, state: Any = "finished") -> list[str]:
    """Run every due trial to its end at once, and tell in which order they came."""
    order = []
    while due := subject.next():
        order.append(due.name)
        values = due.values or {RATE: 1e-3 * (due.number + 1)}
        names = tuple(member.name for member in due.members)
        ended = record(
            due.number, state, stage=due.stage, of=due.study.key, rate=values[RATE], seed=due.seed, members=names
        )
        subject.put(ended)
        assert len(order) < 100
    assert subject.is_done
    return [name.removeprefix("erm.digits.long_tail-20.") for name in order]


def test_search_comes_first_then_the_seeds_of_the_best() -> None:
    assert names_until_done(sweep_state()) == [
        *(f"scan.search-00{n}" for n in range(3)),
        *(f"scan.final-00{n}" for n in range(2)),
    ]


def test_the_final_runs_are_combined_in_the_end() -> None:
    combined = study(has_ensemble=True)
    assert names_until_done(sweep_state(studies=(combined,)))[-3:] == [
        "scan.final-000",
        "scan.final-001",
        "scan.ensemble-000",
    ]


def finals(*states: Any) -> list[TrialRecord]:
    searched = [record(0, accuracy=0.9), record(1), record(2)]
    return [*searched, *(record(n, s, stage="final", rate=1e-3, seed=n + 1) for n, s in enumerate(states))]


def test_an_ensemble_waits_for_the_last_final_run() -> None:
    subject = sweep_state(*finals("finished", "running"), studies=(study(has_ensemble=True),))
    assert subject.next() is None
    assert subject.stage_of(subject.studies[0]) == "final"
    subject.put(record(1, stage="final", rate=1e-3, seed=2))
    due = subject.next()
    assert due is not None
    assert (due.stage, [member.config["seed"] for member in due.members]) == ("ensemble", [1, 2])
    assert subject.stage_of(subject.studies[0]) == "final"
    assert subject.next(["search"]) is None
    names = tuple(member.name for member in due.members)
    subject.put(record(0, "failed", stage="ensemble", members=names))
    assert subject.is_done  # what failed is not tried again
    assert subject.stage_of(subject.studies[0]) == "done"


@pytest.mark.parametrize(("states", "changes"), [(("finished", "failed"), {}), (("finished",), {"final_seeds": (1,)})])
def test_of_a_single_final_run_there_is_no_ensemble(states: Any, changes: dict[str, Any]) -> None:
    assert sweep_state(*finals(*states), studies=(study(has_ensemble=True, **changes),)).is_done


def test_an_interrupted_ensemble_goes_on_with_its_members() -> None:
    known = finals("finished", "finished")
    names = tuple(one.name for one in known if one.stage == "final")
    stopped = record(0, "interrupted", stage="ensemble", members=names)
    due = sweep_state(*known, stopped, studies=(study(has_ensemble=True),)).next()
    assert due is not None
    assert (due.interrupted, [member.name for member in due.members]) == (stopped, list(names))


def test_an_interrupted_ensemble_waits_for_a_member_whose_record_is_gone() -> None:
    known = finals("finished", "finished")
    names = tuple(each.name for each in known if each.stage == "final")
    stopped = record(0, "interrupted", stage="ensemble", members=names)
    studies = (study(has_ensemble=True),)
    subject = sweep_state(*(each for each in known if each.name != names[1]), stopped, studies=studies)
    due = subject.next()
    assert due is not None
    assert (due.stage, due.name) == ("final", names[1]), "it is trained anew"
    subject.put(known[-1])
    again = subject.next()
    assert again is not None
    assert (again.stage, again.name) == ("ensemble", stopped.name)


def test_an_ensemble_that_lost_a_member_for_good_is_made_anew() -> None:
    known = finals("finished", "finished")
    stopped = record(0, "interrupted", stage="ensemble", members=("gone", known[-1].name))
    due = sweep_state(*known, stopped, studies=(study(has_ensemble=True),)).next()
    assert due is not None
    assert (due.stage, due.number) == ("ensemble", 1)


def test_more_seeds_make_another_ensemble() -> None:
    known = finals("finished", "finished", "finished")
    names = tuple(one.name for one in known if one.stage == "final")
    earlier = record(0, stage="ensemble", members=names[:2])
    due = sweep_state(*known, earlier, studies=(study(has_ensemble=True, final_seeds=(1, 2, 3)),)).next()
    assert due is not None
    assert (due.number, [member.name for member in due.members]) == (1, list(names))


def test_weights_and_answers_are_averaged_in_ensembles_of_their_own() -> None:
    known = finals("finished", "finished")
    names = tuple(one.name for one in known if one.stage == "final")
    kinds, made = (False, True, True, False), list[TrialRecord]()
    numbers = []
    for averages in kinds:
        wanted = study(has_ensemble=True, averages_weights=averages)
        due = sweep_state(*known, *made, studies=(wanted,)).next()
        numbers.append(None if due is None else due.number)
        if due is not None:
            notes = {AVERAGED: True} if averages else {}
            made.append(record(due.number, stage="ensemble", members=names, notes=notes))
    assert numbers == [0, 1, None, 2]  # each is asked for once, and the newest is the one that was asked for last


def test_the_best_trials_may_be_combined() -> None:
    searched = [record(n, accuracy=accuracy) for n, accuracy in enumerate((0.9, 0.5, 0.7))]
    repeated = [(1e-3, 1, 0.6), (1e-3, 2, 0.6), (3e-3, 1, 0.8), (3e-3, 2, 0.8)]
    runs = [record(n, accuracy=a, stage="final", rate=r, seed=s) for n, (r, s, a) in enumerate(repeated)]
    both = study(has_ensemble=True, top_k=2, ensemble_trials=2)
    due = sweep_state(*searched, *runs, studies=(both,)).next()
    assert due is not None
    assert [member.number for member in due.members] == [0, 1, 2, 3]
    due = sweep_state(*searched, *runs, studies=(study(has_ensemble=True, top_k=2),)).next()
    assert due is not None
    assert [member.number for member in due.members] == [2, 3]  # of the values that the final runs settle on


def test_studies_take_turns() -> None:
    order = names_until_done(sweep_state(studies=(study(target="scan"), study(target="sign"))))
    assert order[:4] == ["scan.search-000", "sign.search-000", "scan.search-001", "sign.search-001"]
    assert sorted(order) == sorted(set(order))
    assert len(order) == 10


def test_a_new_trial_asks_the_sampler_and_uses_seed_0() -> None:
    due = sweep_state().next()
    assert due is not None
    assert (due.values, due.seed, due.interrupted) == (None, 0, None)


def test_interrupted_trials_come_before_all_others_with_their_own_values() -> None:
    stopped = record(1, "interrupted", stage="final", rate=0.005, seed=7, of=key(target="sign"))
    due = sweep_state(stopped, studies=(study(target="scan"), study(target="sign"))).next()
    assert due is not None
    assert due.name == stopped.name
    assert (due.values, due.seed, due.interrupted) == ({RATE: 0.005}, 7, stopped)


def test_final_runs_wait_for_the_last_search_trial() -> None:
    subject = sweep_state(record(0), record(1), record(2, "running"))
    assert subject.next() is None
    assert not subject.is_done
    subject.put(record(2, "pruned"))
    due = subject.next()
    assert due is not None
    assert (due.stage, due.number, due.seed) == ("final", 0, 1)


def test_final_runs_repeat_the_selected_values() -> None:
    due = sweep_state(record(0, accuracy=0.4), record(1, accuracy=0.9), record(2, "pruned", accuracy=0.95)).next()
    assert due is not None
    assert due.values == record(1).values


def test_a_failed_final_run_is_not_repeated() -> None:
    searched = [record(n) for n in range(3)]
    (best,) = select(searched)
    finals = [record(n, "failed", stage="final", rate=best.values[RATE], seed=n + 1) for n in range(2)]
    assert sweep_state(*searched, *finals).is_done


def test_an_extended_study_goes_on_and_repeats_the_new_best_only() -> None:
    old = [record(n, accuracy=0.5) for n in range(3)]
    finals = [record(n, stage="final", rate=3e-3, seed=n + 1) for n in range(2)]
    longer = study(num_trials=4, final_seeds=(1, 2, 3))
    subject = sweep_state(*old, *finals, studies=(longer,))
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
    subject = sweep_state(*records, studies=(many,))
    assert (subject.stage_of(many) == "stopped") == stops
    assert (subject.next() is None) == stops
    reason = subject.stop_reason(many)
    assert (reason is None) != stops
    if stops:
        assert reason == f"{failed} of {failed + finished} trials failed; the last one: it broke"


def test_a_stopped_study_leaves_the_others_alone() -> None:
    broken = [record(n, "failed") for n in range(3)]
    order = names_until_done(sweep_state(*broken, studies=(study(target="scan"), study(target="sign"))))
    assert order == [*(f"sign.search-00{n}" for n in range(3)), *(f"sign.final-00{n}" for n in range(2))]


def test_a_search_without_a_finished_trial_has_no_final_runs() -> None:
    one = study(num_trials=2)
    subject = sweep_state(record(0, "failed"), record(1, "failed"), studies=(one,))
    assert subject.is_done
    assert subject.stop_reason(one) == "none of its 2 trials finished"


def test_stages() -> None:
    one = study()
    searched = [record(n) for n in range(3)]
    assert sweep_state(*searched[:2]).stage_of(one) == "search"
    assert sweep_state(*searched).stage_of(one) == "final"
    finals = [record(n, stage="final", rate=3e-3, seed=n + 1) for n in range(2)]
    assert sweep_state(*searched, *finals).stage_of(one) == "done"
    finals[1] = record(1, "running", stage="final", rate=3e-3, seed=2)
    assert sweep_state(*searched, *finals).stage_of(one) == "final"


def test_only_trials_of_the_stages_asked_for_are_due() -> None:
    searched = [record(n) for n in range(3)]
    assert sweep_state(*searched).next(["search"]) is None
    assert sweep_state(*searched[:2]).next(["final"]) is None
    stopped = record(0, "interrupted", stage="final", rate=3e-3, seed=1)
    assert sweep_state(*searched, stopped).next(["search"]) is None
    due = sweep_state(*searched, stopped).next(["final"])
    assert due is not None
    assert due.name == stopped.name


def test_records_of_other_studies_are_kept_but_never_due() -> None:
    foreign = record(0, "interrupted", of=key(target="elsewhere"))
    subject = sweep_state(foreign)
    assert subject.records[foreign.name] == foreign
    due = subject.next()
    assert due is not None
    assert due.study.key == key()


LOOK = SecondLook(by="leave_one_domain_out_likelihood", among=2)


def looked(number: int, trial: TrialRecord, value: float | None, state: Any = "finished") -> TrialRecord:
    """A second look at a trial."""
    made = record(number, state, stage="review", rate=trial.values[RATE])
    evaluations = tuple(each | {LOOK.by: value} for each in made.evaluations)
    config = made.config | {"select_by": [LOOK.by]}
    return dataclasses.replace(made, config=config, evaluations=evaluations)


def test_a_second_look_stands_between_search_and_final_runs() -> None:
    trials = [record(n, accuracy=0.5 + 0.1 * n) for n in range(3)]
    subject = sweep_state(*trials, studies=(study(second_look=LOOK),))
    [plan] = subject.studies
    assert subject.stage_of(plan) == "review"
    assert subject.selected(plan) == []
    assert subject.next(["final"]) is None
    for number, (trial, value) in enumerate(((trials[2], 0.3), (trials[1], 0.4))):
        due = subject.next(["search"])
        assert due is not None
        assert (due.stage, due.number, due.repeats) == ("review", number, trial)
        subject.put(looked(number, trial, value))
    assert subject.stage_of(plan) == "final"
    assert subject.selected(plan) == [trials[1]]
    due = subject.next()
    assert due is not None
    assert (due.stage, due.values, due.repeats) == ("final", trials[1].values, trials[1])


def test_there_is_a_second_look_only_at_what_ran_to_its_end() -> None:
    trials = [record(0), record(1, "pruned", steps=(2,)), record(2, "pruned", steps=(2,))]
    subject = sweep_state(*trials, studies=(study(second_look=LOOK),))
    [plan] = subject.studies
    assert plan.num_reviews == 2
    assert summary_of(subject, plan).num_planned == 3 + 1 + 2
    subject.put(looked(0, trials[0], 0.3))
    assert subject.stage_of(plan) == "final"


def test_an_interrupted_second_look_goes_on_first() -> None:
    trials = [record(n, accuracy=0.5 + 0.1 * n) for n in range(3)]
    stopped = looked(0, trials[2], 0.2, "interrupted")
    subject = sweep_state(*trials, stopped, studies=(study(second_look=LOOK),))
    due = subject.next(["search"])
    assert due is not None
    assert (due.stage, due.interrupted) == ("review", stopped)


def test_a_study_whose_second_looks_all_fail_is_stopped_and_says_so() -> None:
    trials = [record(n, accuracy=0.5 + 0.1 * n) for n in range(3)]
    failed = [
        dataclasses.replace(looked(number, trials[2 - number], 0.2, "failed"), reason="loss is nan")
        for number in range(2)
    ]
    subject = sweep_state(*trials, failed[0], studies=(study(second_look=LOOK),))
    [plan] = subject.studies
    assert subject.stage_of(plan) == "review"  # the other one may yet be well
    subject.put(failed[1])
    assert subject.stop_reason(plan) == "all 2 second looks at its best trials failed; the last one: loss is nan"
    assert subject.is_done
    subject.put(looked(1, trials[1], 0.3))
    assert subject.selected(plan) == [trials[1]]


def test_a_longer_search_looks_again_only_at_what_is_new() -> None:
    trials = [record(n, accuracy=0.5 + 0.1 * n) for n in range(4)]
    reviews = [looked(0, trials[2], 0.3), looked(1, trials[1], 0.4)]
    subject = sweep_state(*trials, *reviews, studies=(study(second_look=LOOK, num_trials=4),))
    due = subject.next()
    assert due is not None
    assert (due.stage, due.number, due.repeats) == ("review", 2, trials[3])
