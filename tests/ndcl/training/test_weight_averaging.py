"""Weights of several trainings as one network, which is taken where source domains don't speak against it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ndcl.checkpoints import content
from ndcl.config import TrainConfig
from ndcl.data.problem import Problem, build_problem
from ndcl.evaluation.evaluation import Evaluation
from ndcl.models import build_network
from ndcl.models.adapting import merge
from ndcl.models.mean import MeanState
from ndcl.training import Training
from ndcl.training.ensembling import ensemble_evaluation
from ndcl.training.evaluating import evaluation_parts
from ndcl.training.weight_averaging import averaged_evaluation, averaged_logits, best_state, judged_by
from tests.made.made_model import DIGITS, trained

torch.set_num_threads(1)


def config_of(**values: Any) -> TrainConfig:
    return TrainConfig.from_dict(DIGITS | values)


def mean_of(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    mean = MeanState()
    for state in states:
        mean.add(state)
    return mean.state()


def test_the_mean_network_answers(tmp_path: Path) -> None:
    configs = [config_of(seed=seed) for seed in (1, 2)]
    trainings = [trained(tmp_path / str(config.seed), config) for config in configs]
    problem = trainings[0].problem
    found = averaged_logits(
        configs[0], problem, mean_of([best_state(c, problem, tmp_path / str(c.seed)) for c in configs])
    )
    one, other = (training.network for training in trainings)
    with torch.no_grad():
        for own, its in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
            own.copy_((own.double() + its.double()) / 2)
    expected = trainings[0].evaluation_logits()
    assert all(map(torch.equal, found, expected))


def test_low_rank_changes_are_averaged_as_what_they_make_of_the_weights(tmp_path: Path) -> None:
    """The mean of B times the mean of A would be another network."""
    pytest.importorskip("timm")
    data = {"name": "digits", "target": "scan", "image_size": 32}
    model = {"backbone": "timm:test_vit", "train": "lora", "lora_rank": 2}
    config = config_of(data=data, model=model, num_steps=2, optimizer={"learning_rate": 0.05})
    training = trained(tmp_path / "run", config)
    found = best_state(config, training.problem, tmp_path / "run")
    plain = build_network(config_of(data=data, model={"backbone": "timm:test_vit"}).model, (32, 32, 3), 10, seed=0)
    assert found.keys() == plain.state_dict().keys()
    before = training.network.state_dict()
    merge(training.network)
    assert before.keys() != found.keys()
    assert all(torch.equal(value, found[name]) for name, value in training.network.state_dict().items())
    logits = averaged_logits(config, training.problem, mean_of([found, found]))
    assert all(map(torch.equal, logits, training.evaluation_logits()))


def answers(problem: Problem, num_wrong: int, *, target_wrong: int = 0) -> list[Tensor]:
    """Logits of a network that is wrong on so many images of each source domain, and of the target."""
    found = []
    for part, wrong in zip(evaluation_parts(problem, oracle=False), [*[num_wrong] * 3, target_wrong], strict=True):
        labels = torch.from_numpy(problem.store.labels[part]).clone()
        labels[:wrong] = (labels[:wrong] + 1) % 10
        found.append(4 * torch.nn.functional.one_hot(labels, 10).float())
    return found


def judged(num_wrong: int, *, target_wrong: int = 0, **values: Any) -> tuple[Evaluation, dict[str, Any], Problem]:
    """Two members that are wrong on 4 and 6 images, and a mean of their weights that is on `num_wrong`."""
    config = config_of(**values)
    problem = build_problem(config.data, config.imbalance)
    members = [answers(problem, wrong) for wrong in (4, 6)]
    own = answers(problem, num_wrong, target_wrong=target_wrong)
    return *averaged_evaluation([config] * 2, members, own, problem), problem


@pytest.mark.parametrize("num_wrong", [0, 5])
def test_the_mean_is_taken_where_it_is_no_worse_on_source_domains(num_wrong: int) -> None:
    """Whatever it is on the target."""
    evaluation, about, problem = judged(num_wrong, target_wrong=20)
    num_images = len(problem.validation[0])
    assert (about["of"], about["averaged_weights"]["is_kept"]) == ("weights", True)
    assert evaluation.validation_accuracy == pytest.approx(1 - num_wrong / num_images)
    assert evaluation.target.overall == pytest.approx(1 - 20 / len(problem.target_test))
    assert about["averaged_weights"]["members"] == pytest.approx(1 - 5 / num_images)
    assert about["disagreement"] == {"source": None, "target": None}
    assert evaluation.calibration is not None
    assert about["temperature"] == evaluation.calibration.temperature


def test_where_it_is_worse_the_ensemble_answers() -> None:
    evaluation, about, problem = judged(6)
    config = config_of()
    expected, facts = ensemble_evaluation([config] * 2, [answers(problem, wrong) for wrong in (4, 6)], problem)
    refused = about.pop("averaged_weights")
    assert (evaluation, about) == (expected, facts)
    num_images = len(problem.validation[0])
    assert refused == {
        "criteria": ["validation_accuracy"],
        "value": pytest.approx(1 - 6 / num_images),
        "members": pytest.approx(1 - 5 / num_images),
        "is_kept": False,
    }


def test_it_is_judged_as_checkpoints_are() -> None:
    assert judged_by(config_of(select_by=["worst_domain_accuracy"])) == ("worst_domain_accuracy",)
    assert judged_by(config_of(select_by=["last_step"])) == ("validation_accuracy",)


def test_from_scratch_the_mean_has_learned_nothing(tmp_path: Path) -> None:
    """Why runs need one start: each of two networks has learned, and their mean is refused."""
    values = {"num_steps": 120, "evaluate_every": 60, "batch_size": 16, "optimizer": {"learning_rate": 5e-3}}
    configs = [config_of(**values, seed=seed) for seed in (1, 2)]
    trainings: list[Training] = [trained(tmp_path / str(config.seed), config) for config in configs]
    problem = trainings[0].problem
    states = [content.read(tmp_path / str(config.seed))[0]["best"]["network"] for config in configs]
    own = averaged_logits(configs[0], problem, mean_of(states))
    _, about = averaged_evaluation(configs, [each.evaluation_logits() for each in trainings], own, problem)
    assert not about["averaged_weights"]["is_kept"]
    assert about["averaged_weights"]["value"] < about["averaged_weights"]["members"] - 0.1
    assert about["averaged_weights"]["members"] > 0.4
