"""Several trainings as one model: its numbers are those of the answers combined, and no target decides how."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ndcl.checkpoints.content import newest
from ndcl.config import TrainConfig
from ndcl.data.problem import build_problem
from ndcl.errors import UserError
from ndcl.evaluation.ensembles import Combination, combined
from ndcl.training import train
from ndcl.training.ensembling import ensemble_evaluation, member_logits
from tests.made.made_vectors import TARGET, write_vectors

DIGITS = {"name": "digits", "target": "sign"}
IMAGES: dict[str, Any] = {
    "data": DIGITS,
    "imbalance": {"setting": "long_tail", "ratio": 20, "validation": 3},
    "algorithm": {"name": "erm"},
    "num_steps": 6,
    "evaluate_every": 3,
    "batch_size": 4,
}


def heads(folder: Path, **data: Any) -> dict[str, Any]:
    return {
        "data": {"name": "made", "target": TARGET, "folder": str(folder), **data},
        "imbalance": {"setting": "long_tail", "ratio": 4, "validation": 10},
        "algorithm": {"name": "erm"},
        "model": {"backbone": "linear"},
        "num_steps": 12,
        "evaluate_every": 6,
        "batch_size": 8,
        "optimizer": {"learning_rate": 0.05},
    }


def trained(values: dict[str, Any], folder: Path, seeds: int = 2) -> tuple[list[TrainConfig], list[list[torch.Tensor]]]:
    configs = [TrainConfig.from_dict(values | {"seed": seed}) for seed in range(1, seeds + 1)]
    problem = build_problem(configs[0].data, configs[0].imbalance)
    logits = []
    for config in configs:
        place = folder / str(config.seed)
        list(train(config, place))
        checkpoint = newest(place)
        assert checkpoint is not None
        logits.append(member_logits(config, problem, checkpoint))
    return configs, logits


def test_networks_answer_by_their_mean_probabilities(tmp_path: Path) -> None:
    configs, logits = trained(IMAGES, tmp_path)
    problem = build_problem(configs[0].data, configs[0].imbalance)
    evaluation, about = ensemble_evaluation(configs, logits, problem)
    mean = torch.stack([own[-1].softmax(dim=1) for own in logits]).mean(dim=0)
    labels = problem.store.labels[problem.target_test]
    hits = mean.argmax(dim=1).numpy() == labels
    assert (about["of"], about["scales"]) == ("probabilities", [1.0, 1.0])
    assert evaluation.target.overall == pytest.approx(hits.mean())
    stored = np.unpackbits(np.frombuffer(base64.b64decode(about["target_hits"]), np.uint8), count=len(hits))
    assert (stored == hits).all()
    assert sum(about["target_counts"]) == len(hits)
    assert evaluation.step == 6
    assert evaluation.calibration is not None
    assert evaluation.calibration.temperature == about["temperature"]
    assert 0 < about["disagreement"]["source"] < 1


def test_heads_answer_as_one_head(tmp_path: Path) -> None:
    configs, logits = trained(heads(write_vectors(tmp_path / "data", [0, 1, 2])), tmp_path)
    problem = build_problem(configs[0].data, configs[0].imbalance)
    evaluation, about = ensemble_evaluation(configs, logits, problem)
    assert about["of"] == "logits"
    chosen = Combination(of="logits", scales=tuple(about["scales"]), temperature=about["temperature"])
    answer = combined(torch.stack([own[-1] for own in logits]), chosen)
    hits = answer.argmax(dim=1).numpy() == problem.store.labels[problem.target_test]
    assert evaluation.target.overall == pytest.approx(hits.mean())


def test_no_label_of_the_target_decides_how_heads_are_combined(tmp_path: Path) -> None:
    found = []
    for number, labels in enumerate(([0, 1, 2], [2, 0, 1])):
        folder = tmp_path / str(number)
        configs, logits = trained(heads(write_vectors(folder / "data", labels)), folder)
        found.append(ensemble_evaluation(configs, logits, build_problem(configs[0].data, configs[0].imbalance)))
    (first, about), (second, other) = found
    assert [about[key] for key in ("of", "scales", "temperature")] == [
        other[key] for key in ("of", "scales", "temperature")
    ]
    assert first.validation == second.validation
    assert first.target.overall != second.target.overall


def test_the_best_network_of_a_checkpoint_counts_and_not_its_last(tmp_path: Path) -> None:
    values = heads(write_vectors(tmp_path / "data", [0, 1, 2])) | {"optimizer": {"learning_rate": 5.0}}
    config = TrainConfig.from_dict(values | {"num_steps": 40, "evaluate_every": 4})
    evaluations = list(train(config, tmp_path / "run"))
    best = max(evaluations, key=lambda each: each.validation_accuracy)
    assert best.validation_accuracy > evaluations[-1].validation_accuracy
    problem = build_problem(config.data, config.imbalance)
    checkpoint = newest(tmp_path / "run")
    assert checkpoint is not None
    evaluation, _ = ensemble_evaluation([config], [member_logits(config, problem, checkpoint)], problem)
    assert evaluation.validation == best.validation


def test_of_leave_one_domain_out_there_is_no_network_to_combine(tmp_path: Path) -> None:
    config = TrainConfig.from_dict(IMAGES | {"select_by": ["leave_one_domain_out_accuracy"]})
    with pytest.raises(UserError, match="no single network"):
        member_logits(config, build_problem(config.data, config.imbalance), tmp_path)
