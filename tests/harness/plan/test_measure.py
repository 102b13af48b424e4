"""Trainings timed for real: the numbers are of this machine, so what is tested is what they are made of."""

import os
import subprocess
from pathlib import Path

import pytest
import torch

from harness.plan import measure
from harness.plan.cost import Kind, Speed
from harness.plan.measure import checkpoint_bytes, measured_overhead, measured_speed, measured_speeds
from harness.plan.neighbours import neighbours
from ndcl.config import TrainConfig
from ndcl.errors import UserError
from ndcl.training import Training
from tests.made.made_records import base, plan, study


def config(**changes: object) -> TrainConfig:
    return TrainConfig.from_dict(base(**changes))


def test_a_training_is_timed_and_the_threads_stay_as_they_were() -> None:
    earlier = torch.get_num_threads()
    speed = measured_speed(config(), 1)
    assert speed.seconds_per_step > 0
    assert speed.seconds_per_evaluation > 0
    assert torch.get_num_threads() == earlier


def test_others_train_beside_it_meanwhile_and_end_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    beside: list[list[int]] = []
    monkeypatch.setattr(measure, "_speed", lambda training: beside.append(children()) or Speed(seconds_per_step=1.0))
    assert measured_speed(config(), 1, num_beside=2).num_beside == 2
    assert len(beside[0]) == 2
    assert not set(children()) & set(beside[0])


def test_one_that_cannot_train_beside_it_is_left_out() -> None:
    with neighbours(config(data=base()["data"] | {"name": "missing"}), 1, 1):
        pass


def children() -> list[int]:
    """Processes of this one that train beside a measurement."""
    found = subprocess.run(
        ["pgrep", "--parent", str(os.getpid()), "--full", "harness.plan.neighbours"],
        stdout=subprocess.PIPE,
        check=False,
    )
    return [int(pid) for pid in found.stdout.split()]


def test_the_median_round_counts_and_the_first_steps_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([99.0, 5.0, 10.0, 50.0, 10.0, 7.0])
    monkeypatch.setattr(Training, "time_steps", lambda training, number: next(seconds))
    assert measured_speed(config(), 1).seconds_per_step == 10.0 / 5


def test_a_checkpoint_is_as_large_as_it_is_said_to_be(tmp_path: Path) -> None:
    training = Training(config())
    for _ in training.evaluations():
        training.save(tmp_path / str(training.step))
    written = sum(path.stat().st_size for path in (tmp_path / "4").iterdir())
    assert written == pytest.approx(checkpoint_bytes(training), rel=0.05)


def test_timed_steps_are_steps() -> None:
    training = Training(config())
    seconds = training.time_steps(3)
    assert training.step == 3
    assert seconds == training.seconds > 0


def test_each_kind_is_measured_once() -> None:
    twice = plan(Path(), study(), study("ndcl", base=base(algorithm={"name": "ndcl"})), study(target="sign"))
    kinds = [kind for kind, _ in measured_speeds(twice)]
    assert kinds == [Kind(dataset="digits", backbone="small_cnn", algorithm=name) for name in ("erm", "ndcl")]


def test_leaving_each_source_domain_out_costs_a_training_each() -> None:
    folds = study(base=base(select_by=["leave_one_domain_out_accuracy"]))
    (_, search), (_, final) = measured_speeds(plan(Path(), folds))
    assert search.checkpoint_bytes == 3 * (final.checkpoint_bytes or 0) > 0


def test_what_cannot_be_built_is_a_users_mistake() -> None:
    with pytest.raises(UserError, match="takes no weights"):
        measured_speed(config(model={"backbone": "small_cnn", "weights": "imagenet"}), 1)


def test_what_a_sweep_takes_besides_follows_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    times = []
    for unit in (5.0, 10.0):
        monkeypatch.setattr(measure, "import_seconds", lambda unit=unit: unit)
        times.append(measured_overhead())
    assert times[1].startup_seconds == 2 * times[0].startup_seconds == 2 * 5 * measure.STARTUP
    assert times[1].core_seconds_per_trial == 2 * times[0].core_seconds_per_trial > 0


def test_a_report_and_a_checkpoint_are_part_of_an_evaluation() -> None:
    [(_, bare)] = measured_speeds(plan(Path(), study()))
    [(_, reported)] = measured_speeds(plan(Path(), study()), seconds_per_report=50.0)
    assert reported.seconds_per_evaluation > 50 > bare.seconds_per_evaluation
    assert bare.seconds_per_trial > 0
