"""One study's search on a real sqlite store, and the conductor around it; no Ray."""

import math
import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from harness.config import SchedulerConfig
from harness.plan import StudyPlan
from harness.search import StudySearch, best_values, open_storage
from tests.harness.made_records import RATE, evaluation, record, study


def opened(folder: Path, plan: StudyPlan | None = None, records: Any = ()) -> StudySearch:
    """The study as a new process would open it."""
    search = StudySearch(plan or study(), "made", open_storage(folder / "optuna.db"))
    search.reconcile(records)
    return search


def states(search: StudySearch) -> list[TrialState]:
    return [trial.state for trial in search.study.trials]


def name(number: int) -> str:
    return record(number).name


def test_the_defaults_are_tried_first_and_once(tmp_path: Path) -> None:
    assert opened(tmp_path).ask(name(0), 0) == {RATE: 1e-3}
    again = opened(tmp_path, records=[record(0, "running")])
    drawn = again.ask(name(1), 1)[RATE]
    assert drawn != 1e-3
    assert 1e-4 <= drawn <= 1e-2


def test_the_study_is_named_for_sweep_and_study_and_maximises(tmp_path: Path) -> None:
    search = opened(tmp_path)
    assert search.study.study_name == "made/erm.digits.long_tail-20.scan"
    assert search.study.direction == optuna.study.StudyDirection.MAXIMIZE


def test_ends_are_told_as_what_they_were(tmp_path: Path) -> None:
    search = opened(tmp_path)
    ends = [record(0), record(1, "pruned", steps=(2,)), record(2, "failed", steps=())]
    for end in ends:
        search.ask(end.name, end.number)
        for reported in end.evaluations:
            search.report(end.name, reported)
        search.tell(end)
    assert states(search) == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]


def test_a_finished_trial_counts_by_its_best_checkpoint(tmp_path: Path) -> None:
    search = opened(tmp_path)
    search.ask(name(0), 0)
    end = record(0).with_evaluation(evaluation(2, 0.9)).with_evaluation(evaluation(4, 0.3))
    search.tell(end)
    assert search.study.trials[0].value == 0.9


def test_an_evaluation_replayed_after_a_fault_is_noted_once(tmp_path: Path) -> None:
    search = opened(tmp_path)
    search.ask(name(0), 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in (2, 2, 4, 2):
            assert search.report(name(0), evaluation(step, 0.5)) is False
    assert search.study.trials[0].intermediate_values == {2: 0.5, 4: 0.5}


@pytest.mark.parametrize("scheduler", ["asha", "median"])
def test_a_weak_trial_is_stopped_and_a_strong_one_is_not(tmp_path: Path, scheduler: Any) -> None:
    plan = study(scheduler=SchedulerConfig(name=scheduler, min_resource=1, reduction_factor=2), num_trials=20)
    search = opened(tmp_path, plan)
    for number in range(6):
        search.ask(name(number), number)
        for step in (2, 4):
            search.report(name(number), evaluation(step, 0.5 + number / 100))
        search.tell(record(number))
    search.ask(name(6), 6)
    search.ask(name(7), 7)
    assert search.report(name(6), evaluation(2, 0.1)) is True
    assert search.report(name(7), evaluation(2, 0.9)) is False


def test_a_trial_drawn_just_before_a_kill_is_handed_out_again(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.ask(name(0), 0)
    lost = first.ask(name(1), 1)  # killed here, before its record was written
    second = opened(tmp_path, records=[record(0, "interrupted")])
    assert second.ask(name(1), 1) == lost
    assert [trial.user_attrs["name"] for trial in second.study.trials] == [name(0), name(1)]


def test_a_trial_killed_before_its_values_were_drawn_is_handed_out_again(tmp_path: Path) -> None:
    search = opened(tmp_path)
    search.study.ask()
    values = opened(tmp_path).ask(name(0), 0)
    assert values == {RATE: 1e-3}, "it was the enqueued one"
    assert len(search.study.trials) == 1


def test_an_end_that_only_the_journal_knows_is_told_at_the_next_start(tmp_path: Path) -> None:
    search = opened(tmp_path)
    for number in range(3):
        search.ask(name(number), number)
    again = opened(tmp_path, records=[record(0), record(1, "pruned", steps=(2,)), record(2, "interrupted")])
    assert states(again) == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING]
    assert again.report(name(2), evaluation(2)) is False


def test_a_lost_storage_is_rebuilt_from_the_journal(tmp_path: Path) -> None:
    records = [record(0, accuracy=0.7), record(1, "pruned", steps=(2,)), record(2, "failed"), record(3, "interrupted")]
    search = opened(tmp_path, records=records)
    assert [trial.params for trial in search.study.trials] == [r.values for r in records]
    assert states(search) == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING]
    assert search.study.best_value == 0.7
    search.report(name(3), evaluation(2))
    search.tell(record(3))
    assert states(search)[3] == TrialState.COMPLETE
    assert search.ask(name(4), 4) != {RATE: 1e-3}, "the defaults were tried before the loss"


def test_nothing_changes_when_nothing_is_missing(tmp_path: Path) -> None:
    records = [record(0), record(1, "pruned", steps=(2,))]
    before = opened(tmp_path, records=records).study.trials
    assert opened(tmp_path, records=records).study.trials == before


def test_a_study_that_goes_on_does_not_repeat_its_draws(tmp_path: Path) -> None:
    plan = study(sampler="random", num_trials=20)
    drawn: list[float] = []
    for _ in range(3):  # three processes, two draws each
        search = opened(tmp_path, plan, [record(n, rate=value) for n, value in enumerate(drawn)])
        drawn += [
            search.ask(name(len(drawn)), len(drawn))[RATE],
            search.ask(name(len(drawn) + 1), len(drawn) + 1)[RATE],
        ]
    assert len(set(drawn)) == 6


def test_the_same_seed_draws_the_same_values(tmp_path: Path) -> None:
    drawn = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        search = opened(folder)
        drawn.append([search.ask(name(number), number) for number in range(4)])
    assert drawn[0] == drawn[1]


def test_the_objective_of_a_record_without_a_value_is_not_a_number() -> None:
    assert math.isnan(best_values(record(0, accuracy=None), study())[0])
    assert best_values(record(0, accuracy=0.25), study()) == [0.25]
