"""Heads that algorithms give the network while it trains: made of their own networks, or new for a second stage."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ndcl.algorithm_configs import ALGORITHM_CONFIGS
from ndcl.algorithms.build import algorithm_class
from ndcl.config import TrainConfig
from ndcl.errors import UserError
from ndcl.models import HEAD
from ndcl.training import InterruptedTrainingError, Training
from tests.made.made_store import make_store

torch.set_num_threads(1)
OWN = sorted(name for name, config in ALGORITHM_CONFIGS.items() if algorithm_class(config).has_own_head)
COUNTS = np.array([[24, 9, 5], [21, 9, 5], [9, 9, 9]])
CRT = {"name": "crt", "retrain_from_step": 5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_store(folder / "images", COUNTS, shape=(16, 16, 3))
    return folder


def config_for(folder: Path, algorithm: dict[str, Any], **values: Any) -> TrainConfig:
    base: dict[str, Any] = {
        "data": {"name": "images", "target": "photo", "folder": str(folder), "workers": 0},
        "algorithm": algorithm,
        "imbalance": {"setting": "natural", "validation": 2},
        "model": {"backbone": "resnet18"},
        "optimizer": {"learning_rate": 0.01, "weight_decay": 0.1},
        "batch_size": 4,
        "num_steps": 8,
        "evaluate_every": 2,
        "select_by": ["last_step"],
        "device": "cpu",
    }
    return TrainConfig.from_dict(base | values)


def state(training: Training) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in training.network.state_dict().items()}


@pytest.mark.parametrize("name", OWN)
def test_an_own_head_is_the_networks_after_each_step(folder: Path, name: str) -> None:
    training = Training(config_for(folder, {"name": name}, model={"backbone": "small_cnn"}))
    for step in (1, 2, 3):
        training.train_until(step)
        for key, value in zip(HEAD, training.algorithm.own_head(), strict=True):
            assert torch.equal(training.network.state_dict()[key], value)
    training.close()


def test_an_own_head_is_averaged_as_the_networks_weights_are(folder: Path) -> None:
    averaging = {"name": "ema", "decay": 0.5}
    training = Training(config_for(folder, {"name": "mtl"}, model={"backbone": "small_cnn"}, averaging=averaging))
    expected, before = state(training)[HEAD[0]], None
    for step in range(1, 5):
        training.train_until(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * state(training)[HEAD[0]]
        before = state(training)[HEAD[0]]
    training.close()
    assert training.average is not None
    torch.testing.assert_close(training.average.weights()[HEAD[0]], expected, rtol=1e-5, atol=1e-6)
    assert before is not None
    assert not torch.allclose(expected, before)


def test_retraining_is_erm_then_a_new_head_alone(folder: Path) -> None:
    training, plain = Training(config_for(folder, CRT)), Training(config_for(folder, {"name": "erm"}))
    for each in (training, plain):
        each.train_until(5)
    first = state(training)
    assert all(torch.equal(value, first[key]) for key, value in state(plain).items())
    training.train_until(6)
    second = state(training)
    head = training.algorithm.new_head(5)
    assert head is not None
    for key, value in zip(HEAD, head, strict=True):  # new, and one step of Adam away from where it began
        assert not torch.equal(second[key], value)
        assert (second[key] - value).abs().max() <= 0.01 * 1.001
    training.train_until(8)
    for each in (training, plain):
        each.close()
    last = state(training)
    assert not torch.equal(last[HEAD[0]], second[HEAD[0]])
    backbone = [key for key in last if key not in HEAD]
    assert any(key.endswith("running_mean") for key in backbone)
    assert all(torch.equal(last[key], first[key]) for key in backbone)


def test_batches_of_the_second_stage_are_balanced(folder: Path) -> None:
    training = Training(config_for(folder, CRT))
    balanced = Training(config_for(folder, {"name": "erm"}, resampling_ratio=1.0))
    plain = Training(config_for(folder, {"name": "erm"}))
    for step in range(8):
        expected = (plain if step < 5 else balanced).sampler.rows(step)
        assert np.array_equal(training.sampler.rows(step), expected)


@pytest.mark.parametrize("algorithm", [CRT, *({"name": name} for name in OWN)], ids=lambda value: value["name"])
@pytest.mark.parametrize("stop", [4, 5, 7])
def test_they_resume_bit_identically(folder: Path, tmp_path: Path, algorithm: dict[str, Any], stop: int) -> None:
    config = config_for(folder, algorithm, model={"backbone": "small_cnn", "dropout": 0.2})
    whole, first, second = Training(config), Training(config), Training(config)
    expected = list(whole.evaluations())
    first.is_to_stop = lambda: first.step >= stop
    with contextlib.suppress(InterruptedTrainingError):
        next(each for each in first.evaluations() if each.step == stop)
    first.save(tmp_path / "there")
    second.load(tmp_path / "there")
    rest = [dataclasses.replace(each, seconds=0.0) for each in second.evaluations()]
    assert rest == [dataclasses.replace(each, seconds=0.0) for each in expected[-len(rest) :]]
    assert all(torch.equal(value, state(second)[key]) for key, value in state(whole).items())


def test_a_training_whose_parts_are_shares_of_it_is_not_made_longer(folder: Path, tmp_path: Path) -> None:
    for algorithm in ({"name": "crt"}, {"name": "gini_dg", "reconstruction_steps": 2}):
        model = {"backbone": "small_cnn"}
        training = Training(config_for(folder, algorithm, model=model))
        training.train_until(2)
        training.close()
        training.save(tmp_path / algorithm["name"])
        with pytest.raises(UserError, match=r"num_steps = 8, but the config says 9, and algorithm\.\w+") as error:
            Training(config_for(folder, algorithm, model=model, num_steps=9)).load(tmp_path / algorithm["name"])
        assert "\n" not in str(error.value)
