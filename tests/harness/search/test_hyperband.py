"""Hyperband within an Optuna study, and what TPE sees of trials that wait for their promotion."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from harness.config.search import SchedulerConfig
from harness.plan import StudyPlan
from harness.plan.rungs import bracket_of
from harness.search.paused_trials import with_paused_as_pruned
from harness.search.study_search import StudySearch, open_storage
from tests.made.made_records import base, evaluation, key, record, study


def searched(
    storage: optuna.storages.BaseStorage | None = None, sampler: str = "tpe", **changes: Any
) -> tuple[StudyPlan, StudySearch]:
    scheduler = SchedulerConfig(reduction_factor=2, **changes)
    plan = study(scheduler=scheduler, base=base(num_steps=8), num_trials=40, sampler=sampler)
    search = StudySearch(plan, "made", storage or optuna.storages.InMemoryStorage())
    search.reconcile([])
    return plan, search


def reported(search: StudySearch, number: int, accuracy: float, *steps: int) -> list[bool]:
    """Begin a trial and report so many evaluations; after which it is to be stopped."""
    name = record(number, "running", steps=()).name
    search.ask(name, number)
    return [search.report(name, evaluation(step, accuracy)) for step in steps]


def test_a_trial_is_compared_within_its_bracket_and_at_its_own_rungs() -> None:
    plan, search = searched(name="hyperband")
    stops: dict[int, list[list[bool]]] = {0: [], 1: [], 2: []}
    for number in range(12):  # each is worse than those before it
        stops[bracket_of(plan, number)].append(reported(search, number, 0.9 - 0.05 * number, 2, 4, 6, 8))
    assert stops[0] == [[False] * 4] + [[True, True, False, True]] * (len(stops[0]) - 1)
    assert stops[1] == [[False] * 4] + [[False, True, False, True]] * (len(stops[1]) - 1)
    assert [each[:3] for each in stops[2]] == [[False] * 3] * len(stops[2])
    assert min(map(len, stops.values())) >= 2


def test_a_bracket_follows_from_the_number_of_the_record_whatever_the_stores_own_is() -> None:
    plan, search = searched(name="hyperband")
    numbers = [number for number in range(40) if bracket_of(plan, number) == 1][-3:]  # records before were deleted
    assert [bracket_of(plan, number) for number in range(3)] != [1, 1, 1]
    stopped = [reported(search, number, 0.9 - number / 100, 2, 4) for number in numbers]
    assert stopped == [[False, False], [False, True], [False, True]]


def test_trials_that_no_record_is_of_yet_are_no_rivals() -> None:
    """Values that are queued, as of a warm start, and a trial that was drawn just before a kill."""
    scheduler = SchedulerConfig(name="hyperband", reduction_factor=2)
    plan = study(scheduler=scheduler, base=base(num_steps=8), num_trials=40)
    search = StudySearch(plan, "made", optuna.storages.InMemoryStorage(), [{"optimizer.learning_rate": 2e-3}])
    search.reconcile([])
    name = record(0, "running", steps=()).name
    search.ask(name, 0)
    search.study.ask()
    search.study.enqueue_trial({"optimizer.learning_rate": 4e-3})
    assert search.report(name, evaluation(2, 0.5)) is False


def test_nothing_is_stopped_where_trials_wait_to_be_promoted() -> None:
    _, search = searched(name="asha", mode="promote")
    assert [reported(search, number, 0.9 - 0.1 * number, 2) for number in range(5)] == [[False]] * 5


def test_a_sampler_sees_what_has_come_to_a_rung_as_pruned_and_the_store_has_it_open() -> None:
    plan, search = searched(name="asha", mode="promote", min_resource=2)
    reported(search, 0, 0.9, 2, 4)
    reported(search, 1, 0.5, 2)
    reported(search, 2, 0.5)
    seen = with_paused_as_pruned(plan, search.study).trials
    assert [trial.state for trial in seen] == [TrialState.PRUNED, TrialState.RUNNING, TrialState.RUNNING]
    assert [trial.number for trial in seen] == [0, 1, 2]
    assert [trial.params for trial in seen] == [trial.params for trial in search.study.trials]
    assert seen[0].intermediate_values == {2: 0.9, 4: 0.9}
    assert {trial.state for trial in search.study.trials} == {TrialState.RUNNING}


def test_tpe_draws_where_paused_trials_were_good_as_where_pruned_ones_were() -> None:
    drawn = {}
    for mode in ("stop", "promote"):
        _, search = searched(name="asha", mode=mode)
        for number in range(12):
            name = record(number, "running", steps=()).name
            rate = search.ask(name, number)["optimizer.learning_rate"]
            search.report(name, evaluation(2, 1 - rate * 50))  # the lower the better
            if mode == "stop":
                search.tell(record(number, "pruned", steps=(2,)))
        drawn[mode] = [search.ask(record(n, "running").name, n) for n in (12, 13)]
    assert drawn["promote"] == drawn["stop"]


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "qmc", "random", "nsga2"])
def test_every_sampler_draws_on_where_trials_wait_in_the_file_of_a_sweep(tmp_path: Path, sampler: str) -> None:
    """There trials have numbers of their own, from which their studies count on."""
    storage = open_storage(tmp_path / "optuna.db")
    StudySearch(study(key=key(target="sign")), "made", storage).study.ask()
    _, search = searched(storage, sampler, name="asha", mode="promote")
    rates = []
    for number in range(14):
        name = record(number, "running", steps=()).name
        rates.append(search.ask(name, number)["optimizer.learning_rate"])
        search.report(name, evaluation(2, 1 - rates[-1] * 50))
        if number == 11:
            search.tell(record(number, steps=(2, 4, 6, 8)))
    assert len(set(rates)) == 14
