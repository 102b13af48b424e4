"""Steps, time, price and disk of a sweep, on plans and records made by hand; the bounds against the real pruners."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import optuna
import pytest

from harness.config import Demand
from harness.config.search import SchedulerConfig, SecondLook
from harness.plan import Plan
from harness.plan.cost import Kind, Overhead, Range, Speed, cost_of, kinds_of, recorded_speeds, steps_left
from harness.plan.fit import Fit
from harness.plan.words import Prices, cost_lines
from harness.records import STAGES, Stage, TrialRecord
from harness.search.study_search import StudySearch
from ndcl.criteria import LEAVE_ONE_DOMAIN_OUT
from tests.made.made_records import base, both, evaluation, key, plan, record, study

ERM = Kind(dataset="digits", backbone="small_cnn", algorithm="erm")


def num_at_once(number: int) -> dict[Stage, int]:
    return dict.fromkeys(STAGES, number)


def asha(**changes: Any) -> SchedulerConfig:
    return SchedulerConfig(name="asha", min_resource=1, reduction_factor=2, **changes)


def steps_taken(scheduler: SchedulerConfig, num_trials: int, accuracies: list[float]) -> int:
    """Steps of a real study's search in which each trial has one accuracy at all of its six evaluations."""
    made = study(base=base(num_steps=12), scheduler=scheduler, num_trials=num_trials)
    search = StudySearch(made, "made", optuna.storages.InMemoryStorage())
    search.reconcile([])
    steps = 0
    for number, accuracy in enumerate(accuracies):
        done = record(number, "running", steps=())
        search.ask(done.name, number)
        for step in range(2, 13, 2):
            done = done.with_evaluation(evaluation(step, accuracy))
            if search.report(done.name, done.evaluations[-1]) and step < 12:
                done = dataclasses.replace(done, state="pruned")
                break
        steps += done.evaluations[-1]["step"]
        search.tell(done if done.state == "pruned" else dataclasses.replace(done, state="finished"))
    return steps


@pytest.mark.parametrize("name", ["asha", "hyperband", "median", "none"])
@pytest.mark.parametrize("min_resource", [1, 2])
def test_the_bounds_of_a_search_are_what_the_scheduler_does_at_worst_and_at_best(
    name: Literal["asha", "hyperband", "median", "none"], min_resource: int
) -> None:
    scheduler = SchedulerConfig(name=name, min_resource=min_resource, reduction_factor=2)
    bounds = steps_left(study(base=base(num_steps=12), scheduler=scheduler, num_trials=9, final_seeds=()))
    falling = [0.9 - 0.05 * number for number in range(9)]
    assert steps_taken(scheduler, 9, falling) == bounds.least
    assert steps_taken(scheduler, 9, sorted(falling)) == bounds.most == 9 * 12


def test_final_runs_are_never_stopped_early() -> None:
    assert steps_left(study(scheduler=asha(), num_trials=1)) == Range(least=4 + 2 * 4, most=4 + 2 * 4)


def test_what_is_done_is_not_left() -> None:
    made = study(scheduler=asha(), num_trials=4, final_seeds=(1,))
    assert steps_left(made) == Range(least=4 + 3 * 2 + 4, most=4 * 4 + 4)
    finished, pruned = record(0), record(1, "pruned", steps=(2,))
    running = record(2, "running", steps=(2,))
    assert steps_left(made, [finished, pruned, running]) == Range(least=0 + 2 + 4, most=2 + 4 + 4)
    assert steps_left(made, [pruned, running]) == Range(least=2 + 2 * 2 + 4, most=2 + 2 * 4 + 4)
    assert steps_left(made, [record(n) for n in range(4)] + [record(0, stage="final")]) == Range(least=0, most=0)
    assert steps_left(made, [record(0, of=key("ndcl"))]) == steps_left(made)


def test_speeds_are_those_of_trials_that_ran_in_one_go() -> None:
    records = [record(0), record(1), dataclasses.replace(record(2), ended=1100.0)]
    resumed = dataclasses.replace(record(3, attempts=2), ended=9999.0)
    failed = dataclasses.replace(record(4, "failed", steps=()), ended=9999.0)
    assert recorded_speeds([*records, resumed, failed, record(5, "running")]) == {ERM: Speed(seconds_per_step=10 / 4)}
    assert recorded_speeds([failed]) == {}


def test_without_such_trials_a_speed_is_that_of_the_training_alone() -> None:
    resumed = dataclasses.replace(record(0, attempts=2), ended=9999.0)
    for records in ([resumed], [record(1, "running", steps=(2,))], [resumed, record(1, "waiting")]):
        assert recorded_speeds(records) == {ERM: Speed(seconds_per_step=0.1)}


def test_with_several_objectives_no_trial_is_stopped() -> None:
    two = study(scheduler=asha(), objectives=("validation_accuracy", "few_shot_accuracy"))
    assert steps_left(two) == Range(least=5 * 4, most=5 * 4)


def test_leaving_domains_out_is_a_kind_of_its_own_and_its_final_runs_may_be_short() -> None:
    values = base(select_by=[LEAVE_ONE_DOMAIN_OUT])
    made = plan(Path(), study(base=values, objectives=(LEAVE_ONE_DOMAIN_OUT,), num_trials=1))
    folds = dataclasses.replace(ERM, is_cross_validation=True)
    assert kinds_of(made.studies[0]) == {"search": folds, "final": ERM}
    speeds = {
        folds: Speed(seconds_per_step=30.0, checkpoint_bytes=3),
        ERM: Speed(seconds_per_step=10.0, checkpoint_bytes=1),
    }
    cost = cost_of(made, [], speeds, num_at_once(1))
    assert cost.trial_seconds == Range(least=4 * 30 + 2 * 2 * 10, most=4 * 30 + 2 * 4 * 10)
    assert cost.checkpoint_bytes == Range(least=3 + 2, most=3 + 2 + 3)


def test_final_runs_of_the_best_k_are_counted() -> None:
    assert steps_left(study(num_trials=3, final_seeds=(1, 2), top_k=2)) == Range(least=7 * 4, most=7 * 4)


def test_costs_are_steps_times_speed() -> None:
    made = dataclasses.replace(plan(Path()), occupied=both(cpus=2.0, gpus=0.5))
    speed = Speed(seconds_per_step=80.0, seconds_per_evaluation=20.0, checkpoint_bytes=1000)
    cost = cost_of(made, [], {ERM: speed}, num_at_once(2))
    steps = 3 * 4 + 2 * 4
    seconds = steps * (80 + 20 / 2)
    assert cost.trial_seconds == Range(least=seconds, most=seconds)
    assert cost.wall_seconds == Range(least=seconds / 2, most=seconds / 2)
    assert cost.cpu_hours.most == pytest.approx(2 * seconds / 3600)
    assert cost.gpu_hours.most == pytest.approx(0.5 * seconds / 3600)
    assert cost.price(per_cpu_hour=0.1, per_gpu_hour=3.0).most == pytest.approx((0.2 + 1.5) * seconds / 3600)
    assert cost.checkpoint_bytes == Range(least=5 * 1000, most=(5 + 2) * 1000)


def test_final_runs_that_occupy_something_else_come_after_all_searches() -> None:
    resources: dict[Stage, Demand] = {"search": Demand(cpus=1, gpus=0), "final": Demand(cpus=8, gpus=4)}
    made = dataclasses.replace(plan(Path()), occupied=resources)
    cost = cost_of(made, [], {ERM: Speed(seconds_per_step=3600.0)}, {"search": 3, "final": 1})
    assert cost.wall_seconds is not None
    assert cost.wall_seconds.most == pytest.approx(3600 * (4 + 2 * 4))
    assert cost.cpu_hours.most == pytest.approx(3 * 4 + 8 * 2 * 4)
    assert cost.gpu_hours.most == pytest.approx(4 * 2 * 4)


def test_no_more_trials_run_at_once_than_are_left() -> None:
    made = plan(Path(), study(num_trials=2, final_seeds=(1,)))
    cost = cost_of(made, [], {ERM: Speed(seconds_per_step=1.0)}, num_at_once(16))
    assert cost.wall_seconds == Range(least=4.0 + 4.0, most=4.0 + 4.0)
    assert cost.checkpoint_bytes is None


def test_where_nothing_fits_there_is_no_duration_but_hours() -> None:
    cost = cost_of(plan(Path()), [], {ERM: Speed(seconds_per_step=1.0)}, None)
    assert cost.wall_seconds is None
    assert cost.cpu_hours.most == pytest.approx(20 / 3600)


def test_stopped_trials_keep_no_checkpoint() -> None:
    made = plan(Path(), study(num_trials=6, scheduler=asha()))
    speed = Speed(seconds_per_step=1.0, checkpoint_bytes=10)
    assert cost_of(made, [], {ERM: speed}, num_at_once(1)).checkpoint_bytes == Range(
        least=(1 + 2) * 10, most=(6 + 2 + 1) * 10
    )


def test_studies_without_a_speed_are_left_out() -> None:
    other = study("ndcl", base=base(algorithm={"name": "ndcl"}))
    two, one = plan(Path(), study(), other), plan(Path(), study())
    speeds = {ERM: Speed(seconds_per_step=1.0)}
    assert cost_of(two, [], speeds, num_at_once(1)) == cost_of(one, [], speeds, num_at_once(1))


def told(made: Plan, *records: TrialRecord) -> list[str]:
    fit = Fit(at_once=num_at_once(1), problem=None)
    return list(cost_lines(made, records, recorded_speeds(records), fit, Prices(per_cpu_hour=1.0)))


def test_where_nothing_that_is_left_was_evaluated_nothing_is_known() -> None:
    other = study("arm", base=base(algorithm={"name": "arm"}), num_trials=1, final_seeds=())
    erm = study(num_trials=1, final_seeds=())
    unknown = "not known, since none of this has been evaluated yet: arm with small_cnn on digits; `ndcl plan "
    [line] = told(plan(Path(), erm, other), record(0))
    assert line.startswith(f"time, compute and disk left: {unknown}")
    look = SecondLook(by="leave_one_domain_out_likelihood", among=2)
    [line] = told(plan(Path(), study(second_look=look, num_trials=2, final_seeds=())), record(0), record(1))
    assert "on digits, leaving out each source domain; " in line


def test_where_a_part_was_evaluated_the_rest_is_at_least_that() -> None:
    other = study("arm", base=base(algorithm={"name": "arm"}), num_trials=1, final_seeds=())
    time, compute, price, unknown = told(plan(Path(), study(num_trials=2, final_seeds=()), other), record(0))
    assert time.startswith("time left: at least ")
    assert compute.startswith("compute left: at least ")
    assert price.startswith("price left: at least ")
    assert unknown == "not counted, since none of it has been evaluated yet: arm with small_cnn on digits"
    assert not any("at least" in line for line in told(plan(Path(), study(num_trials=2)), record(0)))


def test_search_trials_count_before_a_second_look_was_evaluated() -> None:
    look = SecondLook(by="leave_one_domain_out_likelihood", among=2)
    made = plan(Path(), study(second_look=look, num_trials=2, final_seeds=()))
    cost = cost_of(made, [record(0)], {ERM: Speed(seconds_per_step=1.0)}, num_at_once(1))
    assert cost.trial_seconds == Range(least=4, most=4)
    assert cost.checkpoint_bytes is None


def test_what_is_done_needs_no_speed() -> None:
    other = study("arm", base=base(algorithm={"name": "arm"}), num_trials=1, final_seeds=())
    failed = record(0, "failed", steps=(), of=other.key)
    made = plan(Path(), study(num_trials=1, final_seeds=()), other)
    assert not any("not" in line for line in told(made, record(0), failed))


OVERHEAD = Overhead(
    startup_seconds=20, core_seconds_per_trial=0.8, core_seconds_per_study=4, seconds_per_report=0.04, num_cores=2
)


@pytest.mark.parametrize(
    ("seconds", "slots", "expected"),
    [
        (140.0, 2, 20 + (140 + 152 * 0.8 + 8 * 4) / 2),  # trials share both cores with what drives them
        (140.0, 1, 20 + (140 + 152 * 0.8 + 8 * 4) / 2),  # which is more than one trial after the other
        (1000.0, 1, 20 + 1000),  # what drives them has its own core
    ],
)
def test_the_wall_time_has_what_a_sweep_takes_beside_its_trials(seconds: float, slots: int, expected: float) -> None:
    trials = Range(least=seconds, most=seconds)
    wall = OVERHEAD.wall_seconds(trials, busy_cores=1, slots=slots, trials=152, studies=8)
    assert (wall.least, wall.most) == (expected, expected)


def test_an_overhead_counts_for_what_is_left_alone() -> None:
    made = plan(Path(), study(num_trials=1, final_seeds=()))
    speeds = {Kind.of(base()): Speed(seconds_per_step=1.0, seconds_per_trial=3.0)}
    left = cost_of(made, [], speeds, num_at_once(2), OVERHEAD).wall_seconds
    assert left is not None
    assert left.most == 20 + max(4 + 3, (7 + 0.8 + 4) / 2)
    done = cost_of(made, [record(0)], speeds, num_at_once(2), OVERHEAD).wall_seconds
    assert done == Range(least=0, most=0)


def test_second_looks_count_as_one_training_per_source_domain() -> None:
    look = SecondLook(by="leave_one_domain_out_likelihood", among=2)
    made = plan(Path(), study(second_look=look, num_trials=3, final_seeds=(1,)))
    folds = dataclasses.replace(ERM, is_cross_validation=True)
    assert kinds_of(made.studies[0]) == {"search": ERM, "review": folds, "final": ERM}
    assert steps_left(made.studies[0]) == Range(least=6 * 4, most=6 * 4)
    speeds = {
        folds: Speed(seconds_per_step=30.0, checkpoint_bytes=3),
        ERM: Speed(seconds_per_step=10.0, checkpoint_bytes=1),
    }
    cost = cost_of(made, [], speeds, num_at_once(1))
    assert cost.trial_seconds.most == 3 * 4 * 10 + 2 * 4 * 30 + 4 * 10
    assert cost.checkpoint_bytes == Range(least=3 + 2 * 3 + 1, most=3 + 2 * 3 + 1 + 3)
    kept = dataclasses.replace(made, keep_checkpoints="selected")
    assert cost_of(kept, [], speeds, num_at_once(1)).checkpoint_bytes == Range(least=2 + 1, most=2 + 1 + 3)


def test_no_second_look_is_left_at_what_was_stopped() -> None:
    look = SecondLook(by="leave_one_domain_out_likelihood", among=2)
    made = study(scheduler=asha(), second_look=look, num_trials=3, final_seeds=())
    assert steps_left(made) == Range(least=4 + 2 * 2 + 4, most=3 * 4 + 2 * 4)
    searched = [record(0), record(1, "pruned", steps=(2,)), record(2, "pruned", steps=(2,))]
    assert steps_left(made, searched) == Range(least=4, most=4)
    assert steps_left(made, [*searched, record(0, stage="review")]) == Range(least=0, most=0)
