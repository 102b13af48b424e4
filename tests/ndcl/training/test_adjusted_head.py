"""A head that answers in place of the one that learns: evaluated, selected, exported, averaged, and never trained."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import ndcl
from ndcl.algorithm_configs import algorithm_config
from ndcl.algorithms import SourceDomains, build_algorithm
from ndcl.config import TrainConfig
from ndcl.evaluation import Evaluation
from ndcl.models import HEAD
from ndcl.serving import export
from ndcl.training import InterruptedTrainingError, Training
from ndcl.training.ensembling import member_logits
from tests.made.made_store import make_store

torch.set_num_threads(1)
ADJUSTED: tuple[dict[str, Any], ...] = (
    {"name": "logit_adjustment", "tau": 1.5},
    {"name": "tau_norm", "tau": 0.7},
)
COUNTS = np.array([[24, 9, 5], [21, 9, 5], [9, 9, 9]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_store(folder / "images", COUNTS, shape=(9, 10, 3))
    return folder


def config_for(folder: Path, algorithm: dict[str, Any], **values: Any) -> TrainConfig:
    base: dict[str, Any] = {
        "data": {"name": "images", "target": "photo", "folder": str(folder), "workers": 0},
        "algorithm": algorithm,
        "imbalance": {"setting": "natural", "validation": 2},
        "model": {"backbone": "small_cnn"},
        "optimizer": {"learning_rate": 0.01},
        "batch_size": 3,
        "num_steps": 8,
        "evaluate_every": 2,
        "device": "cpu",
    }
    return TrainConfig.from_dict(base | values)


def by_hand(algorithm: dict[str, Any], training: Training, head: dict[str, Tensor]) -> dict[str, Tensor]:
    """The head that is to answer, class by class."""
    weight, bias = (head[key].clone() for key in HEAD)
    for k in range(len(bias)):
        if algorithm["name"] == "tau_norm":
            weight[k] /= float((weight[k] ** 2).sum()) ** (algorithm["tau"] / 2)
            bias[k] = 0
        else:
            prior = float(np.mean([frequencies[k] for frequencies in training.sampler.frequencies]))
            bias[k] -= algorithm["tau"] * np.log(prior)
    return dict(zip(HEAD, (weight, bias), strict=True))


def check(best: dict[str, Tensor], trained: dict[str, Tensor], head: dict[str, Tensor]) -> None:
    for key, value in best.items():
        if key in HEAD:
            torch.testing.assert_close(value, head[key], rtol=1e-6, atol=1e-6)
        else:
            assert torch.equal(value, trained[key])
    assert not torch.equal(best[HEAD[1]], trained[HEAD[1]])


@pytest.mark.parametrize("algorithm", ADJUSTED, ids=lambda value: value["name"])
def test_it_trains_as_erm_and_answers_by_the_adjusted_head(folder: Path, algorithm: dict[str, Any]) -> None:
    changes = {"select_by": ["last_step"], "evaluate_target": "selected"}
    training = Training(config_for(folder, algorithm, **changes))
    plain = Training(config_for(folder, {"name": "erm"}, **changes))
    evaluations, _ = list(training.evaluations()), list(plain.evaluations())
    trained = training.network.state_dict()
    assert all(torch.equal(value, trained[key]) for key, value in plain.network.state_dict().items())
    assert training.best is not None
    check(training.best["network"], trained, by_hand(algorithm, training, trained))
    training.network.load_state_dict(training.best["network"])
    images = training.problem.validation[0]
    hits = training.predict(images) == training.problem.store.labels[images]
    assert evaluations[-1].validation[training.problem.source_domains[0]].overall == hits.mean()
    target = (
        training.predict(training.problem.target_test) == training.problem.store.labels[training.problem.target_test]
    )
    assert evaluations[-1].selected is not None
    assert evaluations[-1].selected.target.overall == target.mean()


@pytest.mark.parametrize(
    "kind", [{"name": "ema", "decay": 0.9}, {"name": "swad", "start_patience": 2, "end_patience": 2}]
)
@pytest.mark.parametrize("algorithm", ADJUSTED, ids=lambda value: value["name"])
def test_of_averaged_weights_the_averaged_head_is_adjusted(
    folder: Path, algorithm: dict[str, Any], kind: dict[str, Any]
) -> None:
    training = Training(config_for(folder, algorithm, averaging=kind, select_by=["last_step"]))
    list(training.evaluations())
    assert training.average is not None
    assert training.best is not None
    averaged = training.average.weights()
    check(training.best["network"], averaged, by_hand(algorithm, training, averaged))


@pytest.mark.parametrize("algorithm", ADJUSTED, ids=lambda value: value["name"])
def test_exported_models_and_ensembles_answer_by_it(folder: Path, tmp_path: Path, algorithm: dict[str, Any]) -> None:
    training = Training(config_for(folder, algorithm))
    list(training.evaluations())
    training.save(tmp_path / "checkpoint")
    export(tmp_path / "checkpoint", tmp_path / "model")
    assert training.best is not None
    training.network.load_state_dict(training.best["network"])
    rows, model = training.problem.target_test, ndcl.load_model(tmp_path / "model")
    expected = training.logits(rows)
    assert torch.equal(model.logits(model.prepare(training.problem.store.inputs(rows))), expected)
    *_, target = member_logits(training.config, training.problem, tmp_path / "checkpoint")
    assert torch.equal(target, expected)


@pytest.mark.parametrize("algorithm", ADJUSTED, ids=lambda value: value["name"])
@pytest.mark.parametrize("stop", [4, 5])
def test_it_resumes_bit_identically(folder: Path, tmp_path: Path, algorithm: dict[str, Any], stop: int) -> None:
    config = config_for(folder, algorithm)
    whole, first, second = Training(config), Training(config), Training(config)
    expected = list(whole.evaluations())
    first.is_to_stop = lambda: first.step >= stop
    with contextlib.suppress(InterruptedTrainingError):
        next(each for each in first.evaluations() if each.step == stop)
    first.save(tmp_path / "there")
    second.load(tmp_path / "there")
    rest = list(second.evaluations())
    assert [without_time(each) for each in rest] == [without_time(each) for each in expected[-len(rest) :]]
    assert whole.best is not None
    assert second.best is not None
    assert all(torch.equal(value, second.best["network"][key]) for key, value in whole.best["network"].items())


def without_time(evaluation: Evaluation) -> Evaluation:
    return dataclasses.replace(evaluation, seconds=0.0)


def test_a_class_that_all_source_domains_lack_keeps_its_logit() -> None:
    frequencies = np.array([[0.8, 0.2, 0.0], [0.4, 0.6, 0.0]])
    sources = SourceDomains(frequencies=frequencies, batch_size=4, seed=0)
    algorithm = build_algorithm(algorithm_config({"name": "logit_adjustment"}), sources)
    weight, bias = algorithm.adjusted_head(torch.ones(3, 2), torch.ones(3))
    assert torch.equal(weight, torch.ones(3, 2))
    assert bias.tolist() == pytest.approx([1 - np.log(0.6), 1 - np.log(0.4), 1])


@pytest.mark.parametrize("frequencies", ["per_domain", "pooled"])
def test_in_the_loss_with_tau_1_it_is_balanced_softmax(folder: Path, frequencies: str) -> None:
    values = {"frequencies": frequencies}
    ours = Training(config_for(folder, {"name": "logit_adjustment", "mode": "loss", **values}))
    theirs = Training(config_for(folder, {"name": "balanced_softmax", **values}))
    for training in (ours, theirs):
        list(training.evaluations())
    assert all(torch.equal(p, q) for p, q in zip(ours.network.parameters(), theirs.network.parameters(), strict=True))
