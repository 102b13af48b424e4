"""One study's search on a real sqlite store, and the controller around it; no Ray."""

import dataclasses
import math
import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from harness.config.parameters import ChoiceParameter, FloatParameter
from harness.config.search import SchedulerConfig
from harness.plan import StudyPlan
from harness.records import TrialRecord
from harness.search.frozen_trials import best_values
from harness.search.study_search import StudySearch, open_storage
from tests.made.made_records import RATE, base, evaluation, record, study


def opened(folder: Path, plan: StudyPlan | None = None, records: Any = ()) -> StudySearch:
    """The study as a new process would open it."""
    folder.mkdir(exist_ok=True)
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


@pytest.mark.parametrize("scheduler", ["asha", "median", "hyperband"])
def test_what_was_decided_at_a_step_stands_though_others_have_come_since(tmp_path: Path, scheduler: Any) -> None:
    """A kill makes a trial report once more what it resumes from, and its rivals may be further then."""
    plan = study(scheduler=SchedulerConfig(name=scheduler, min_resource=1, reduction_factor=2), num_trials=20)
    search = opened(tmp_path, plan)
    drawn = [record(number, "interrupted", steps=(2,), accuracy=0.3) for number in range(9)]
    for each in drawn:
        search.ask(each.name, each.number)
    assert search.report(name(0), evaluation(2, 0.3)) is False
    for number in range(1, 8):
        assert search.report(name(number), evaluation(2, 0.9)) is False
        if scheduler == "median":  # which compares with trials that have ended
            search.tell(record(number, steps=(2,), accuracy=0.9))
    assert search.report(name(8), evaluation(2, 0.1)) is True
    again = opened(tmp_path, plan, drawn)
    assert again.report(name(0), evaluation(2, 0.3)) is False
    assert again.report(name(8), evaluation(2, 0.1)) is True
    again.report(name(0), evaluation(4, 0.3))
    assert again.report(name(0), evaluation(2, 0.3)) is False, "it has gone on from there"


def test_where_nothing_is_stopped_nothing_is_kept_of_it(tmp_path: Path) -> None:
    search = opened(tmp_path)
    search.ask(name(0), 0)
    search.report(name(0), evaluation(2))
    assert not any("judged" in key for key in search.study.trials[0].system_attrs)


def test_a_finished_trial_without_a_value_teaches_nothing_and_stops_no_start(tmp_path: Path) -> None:
    search, end = opened(tmp_path), record(0, accuracy=None)
    search.ask(name(0), 0)
    search.tell(end)
    assert states(search) == [TrialState.FAIL]
    assert states(opened(tmp_path, records=[end])) == [TrialState.FAIL]
    assert states(opened(tmp_path / "lost", records=[end])) == [TrialState.FAIL]


def test_first_values_that_were_not_tried_yet_outlive_the_loss_of_the_store(tmp_path: Path) -> None:
    first = [{RATE: 2e-3}, {RATE: 3e-3}]

    def started(folder: Path, *records: TrialRecord) -> StudySearch:
        folder.mkdir()
        search = StudySearch(study(num_trials=9), "made", open_storage(folder / "optuna.db"), first)
        search.reconcile(records)
        return search

    assert [started(tmp_path / "a").ask(name(0), 0)] == [{RATE: 1e-3}]
    lost = started(tmp_path / "b", record(0, rate=1e-3), record(1, rate=2e-3))
    assert lost.ask(name(2), 2) == first[1]
    assert lost.ask(name(3), 3) not in first
    over = started(tmp_path / "c", *(record(n, rate=rate) for n, rate in enumerate((1e-3, 2e-3, 3e-3))))
    assert over.ask(name(3), 3) not in ({RATE: 1e-3}, *first)


def test_first_values_that_a_draw_has_met_are_not_tried_again(tmp_path: Path) -> None:
    """The space's defaults leave a parameter open, and what is drawn for it makes them the warm start's values."""
    ratio = choice(1.0, 10.0)
    plan = study(num_trials=9, space=study().space | {"resampling_ratio": ratio}, sampler="random")
    for number, value in enumerate(ratio.choices):
        folder = tmp_path / str(number)
        folder.mkdir()
        first = [{RATE: 1e-3, "resampling_ratio": value}]
        search = StudySearch(plan, "made", open_storage(folder / "optuna.db"), first)
        search.reconcile(())
        drawn = [search.ask(name(each), each) for each in range(3)]
        assert drawn[0][RATE] == 1e-3
        assert sum(values == first[0] for values in drawn) == 1


def test_a_trial_drawn_just_before_a_kill_is_handed_out_again(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.ask(name(0), 0)
    lost = first.ask(name(1), 1)  # killed here, before its record was written
    second = opened(tmp_path, records=[record(0, "interrupted")])
    assert second.ask(name(1), 1) == lost
    assert [trial.user_attrs["name"] for trial in second.study.trials] == [name(0), name(1)]


def test_a_trial_killed_before_its_values_were_drawn_is_handed_out_again(tmp_path: Path) -> None:
    search = opened(tmp_path)
    search._new(0)
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


def choice(*choices: Any, **more: Any) -> ChoiceParameter:
    return ChoiceParameter(type="choice", choices=choices, **more)


CONDITIONAL = {
    RATE: FloatParameter(type="float", low=1e-4, high=1e-2, log=True),
    "algorithm.alpha": FloatParameter(type="float", low=0.1, high=1, when={"algorithm.mixup_mode": ("rev",)}),
    "algorithm.mixup_mode": choice("rev", "set"),
}


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "qmc", "random", "nsga2"])
def test_every_sampler_draws_in_range_under_conditions_and_after_a_kill(tmp_path: Path, sampler: str) -> None:
    plan = study(sampler=sampler, space=CONDITIONAL, num_trials=12, scheduler=SchedulerConfig(name="none"))
    done: list[TrialRecord] = []
    for _ in range(2):  # two processes, six trials each
        search = opened(tmp_path, plan, done)
        for number in range(len(done), len(done) + 6):
            values = search.ask(name(number), number)
            assert ("algorithm.alpha" in values) == (values["algorithm.mixup_mode"] == "rev")
            assert all(CONDITIONAL[key].accepts(value) for key, value in values.items())
            ended = dataclasses.replace(record(number, accuracy=values[RATE]), values=values)
            search.report(ended.name, ended.evaluations[0])
            search.tell(ended)
            done.append(ended)
    assert len({tuple(sorted(r.values.items(), key=str)) for r in done}) == 12, "drawn twice"
    assert {r.values["algorithm.mixup_mode"] for r in done} == {"rev", "set"}


def test_a_model_based_search_finds_the_better_end(tmp_path: Path) -> None:
    plan = study(num_trials=30)
    search = opened(tmp_path, plan)
    drawn = []
    for number in range(30):
        values = search.ask(name(number), number)
        drawn.append(values[RATE])
        search.tell(record(number, accuracy=1 - abs(math.log10(values[RATE]) + 2)))  # best at 1e-2
    assert sum(rate > 3e-3 for rate in drawn[15:]) > 10


def test_a_grid_goes_on_after_a_kill_and_without_its_storage(tmp_path: Path) -> None:
    plan = study(sampler="grid", space={RATE: choice(1e-4, 1e-3, 1e-2), "batch_size": choice(4, 8)}, num_trials=6)
    first = opened(tmp_path, plan)
    drawn = [first.ask(name(0), 0)]
    lost = first.ask(name(1), 1)
    second = opened(tmp_path, plan, [dataclasses.replace(record(0), values=drawn[0])])
    drawn.append(second.ask(name(1), 1))
    assert drawn[1] == lost
    (tmp_path / "optuna.db").unlink()
    known = [dataclasses.replace(record(n), values=values) for n, values in enumerate(drawn)]
    third = opened(tmp_path, plan, known)
    drawn += [third.ask(name(number), number) for number in range(2, 6)]
    assert len({tuple(sorted(values.items())) for values in drawn}) == 6


def test_values_to_start_with_come_after_the_defaults_and_once(tmp_path: Path) -> None:
    def started(records: Any = ()) -> StudySearch:
        search = StudySearch(study(), "made", open_storage(tmp_path / "optuna.db"), [{RATE: 5e-3}, {RATE: 1e-3}])
        search.reconcile(records)
        return search

    started()  # killed before its first trial
    search = started()
    assert [search.ask(name(number), number)[RATE] for number in range(2)] == [1e-3, 5e-3]
    assert search.ask(name(2), 2)[RATE] not in (1e-3, 5e-3)
    assert len(search.study.trials) == 3
    again = started([record(n, rate=rate) for n, rate in enumerate((1e-3, 5e-3))])
    assert again.ask(name(3), 3)[RATE] not in (1e-3, 5e-3)


def test_several_objectives_make_a_front_that_survives_its_storage(tmp_path: Path) -> None:
    names = ("worst_domain_accuracy", "few_shot_accuracy")
    plan = study(objectives=names, base=base(select_by=list(names)), sampler="nsga2")
    search = opened(tmp_path, plan)
    ended = []
    for number, (worst, few) in enumerate([(0.9, 0.1), (0.2, 0.8), (0.1, 0.1)]):
        search.ask(name(number), number)
        values = {"worst_domain_accuracy": worst, "few_shot_accuracy": few}
        made = record(number)
        config = made.config | {"select_by": list(names)}
        made = dataclasses.replace(made, config=config, evaluations=({**evaluation(4), **values},))
        assert search.report(made.name, made.evaluations[0]) is False
        search.tell(made)
        ended.append(made)
    for study_now in (search.study, opened(tmp_path / "lost", plan, ended).study):
        assert [trial.number for trial in study_now.best_trials] == [0, 1]
        assert [direction.name for direction in study_now.directions] == ["MAXIMIZE"] * 2
