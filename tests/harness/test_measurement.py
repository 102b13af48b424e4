"""Trainings timed for real: the numbers are of this machine, so what is tested is what they are made of."""

from pathlib import Path

import pytest
import torch

from harness.measurement import checkpoint_bytes, measured_speed, measured_speeds
from harness.plan_cost import Kind
from ndcl.config import TrainConfig
from ndcl.errors import UserError
from ndcl.training import Training
from tests.harness.made_records import base, plan, study


def config(**changes: object) -> TrainConfig:
    return TrainConfig.from_dict(base(**changes))


def test_a_training_is_timed_and_the_threads_stay_as_they_were() -> None:
    earlier = torch.get_num_threads()
    speed = measured_speed(config(), 1)
    assert speed.seconds_per_step > 0
    assert speed.seconds_per_evaluation > 0
    assert torch.get_num_threads() == earlier


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
