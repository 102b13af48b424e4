"""Margins and posterior discrepancy against naive loops, and scipy's Jensen-Shannon distance."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from ndcl.config import TrainConfig
from ndcl.evaluation.diagnostics import (
    SUMMARY,
    class_posteriors,
    decision_margins,
    diagnose,
    posterior_discrepancy,
    summarize,
)
from ndcl.imbalance.shots import SHOT_GROUPS
from ndcl.training import Training, build_training

torch.set_num_threads(1)
NUM_CLASSES = 4
GROUPS = np.array([0, 1, 2, 2])
"""many, median, few, few"""


def made(seed: int, num_images: int = 40, classes: tuple[int, ...] = (0, 1, 2, 3)) -> tuple[torch.Tensor, np.ndarray]:
    """Logits and labels at random; `classes` are those that occur."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn((num_images, NUM_CLASSES), generator=generator)
    return logits, np.random.default_rng(seed).choice(classes, num_images).astype(np.int64)


def naive_margin(row: list[float], label: int) -> float:
    return row[label] - max(value for k, value in enumerate(row) if k != label)


def naive_summary(margins: list[float]) -> list[float]:
    return [math.fsum(margins) / len(margins), *(float(np.quantile(margins, q)) for q in (0.05, 0.25, 0.5, 0.75, 0.95))]


def naive_posterior(logits: torch.Tensor, labels: np.ndarray, k: int) -> list[float]:
    total, count = [0.0] * NUM_CLASSES, 0
    for row, label in zip(logits.tolist(), labels, strict=True):
        if label == k:
            exps = [math.exp(value) for value in row]
            total = [t + e / sum(exps) for t, e in zip(total, exps, strict=True)]
            count += 1
    return [t / count for t in total]


def naive_discrepancy(first: tuple[torch.Tensor, np.ndarray], second: tuple[torch.Tensor, np.ndarray]) -> float:
    both = sorted(set(first[1].tolist()) & set(second[1].tolist()))
    return float(np.mean([jensenshannon(naive_posterior(*first, k), naive_posterior(*second, k), 2) for k in both]))


def test_margins_by_hand() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.5, 0.0], [3.0, 1.0, 2.5, 0.0], [1.0, 1.0, 1.0, 1.0]])
    assert decision_margins(logits, np.array([0, 1, 2])).tolist() == [0.5, -2.0, 0.0]


def test_a_margin_is_positive_where_the_prediction_is_right() -> None:
    logits, labels = made(0, 200)
    assert ((decision_margins(logits, labels) > 0) == (logits.argmax(1).numpy() == labels)).all()


def test_margins_are_summarised_over_all_groups_and_classes() -> None:
    logits, labels = made(1, 60, (0, 2, 3))
    margins = [naive_margin(row, label) for row, label in zip(logits.tolist(), labels, strict=True)]
    summary = summarize(decision_margins(logits, labels), labels, GROUPS).to_dict()
    assert list(summary) == ["all", *SHOT_GROUPS, "per_class"]
    members = {"all": {0, 1, 2, 3}, "many": {0}, "few": {2, 3}}
    for name, classes in members.items():
        expected = naive_summary([m for m, label in zip(margins, labels, strict=True) if label in classes])
        assert list(summary[name].values()) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert summary["median"] is None
    assert summary["zero"] is None
    for k in range(NUM_CLASSES):
        own = [column[k] for column in summary["per_class"].values()]
        if k == 1:
            assert own == [None] * len(SUMMARY)
        else:
            expected = naive_summary([m for m, label in zip(margins, labels, strict=True) if label == k])
            assert own == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_posteriors_are_means_of_each_class() -> None:
    logits, labels = made(2, classes=(0, 1, 3))
    posteriors = class_posteriors(logits, labels)
    assert np.isnan(posteriors[2]).all()
    for k in (0, 1, 3):
        assert posteriors[k] == pytest.approx(naive_posterior(logits, labels, k), abs=1e-6)
        assert posteriors[k].sum() == pytest.approx(1)


def test_discrepancy_is_the_mean_distance_of_the_common_classes() -> None:
    first, second = made(3, classes=(0, 1, 2)), made(4, classes=(1, 2, 3))
    found = posterior_discrepancy(class_posteriors(*first), class_posteriors(*second))
    assert found == pytest.approx(naive_discrepancy(first, second), abs=1e-6)


@pytest.mark.parametrize(("second", "expected"), [([1.0, 0.0], 0.0), ([0.0, 1.0], 1.0)])
def test_discrepancy_lies_between_nothing_and_all(second: list[float], expected: float) -> None:
    nothing = [math.nan, math.nan]
    assert posterior_discrepancy(np.array([[1.0, 0.0], nothing]), np.array([second, nothing])) == expected


def test_domains_without_a_common_class_have_no_discrepancy() -> None:
    first, second = made(5, classes=(0, 1)), made(6, classes=(2, 3))
    assert posterior_discrepancy(class_posteriors(*first), class_posteriors(*second)) is None
    assert diagnose([first, second], made(7), GROUPS).source_discrepancy is None


def test_domains_are_compared_in_pairs_and_with_the_target() -> None:
    source, target = [made(seed) for seed in (8, 9, 10)], made(11)
    found = diagnose(source, target, GROUPS)
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = np.mean([naive_discrepancy(source[a], source[b]) for a, b in pairs])
    assert found.source_discrepancy == pytest.approx(expected, abs=1e-6)
    expected = np.mean([naive_discrepancy(part, target) for part in source])
    assert found.target_discrepancy == pytest.approx(expected, abs=1e-6)
    joined = torch.cat([logits for logits, _ in source]), np.concatenate([labels for _, labels in source])
    assert found.source_margins == summarize(decision_margins(*joined), joined[1], GROUPS)
    assert found.target_margins == summarize(decision_margins(*target), target[1], GROUPS)


def config(**changes: object) -> TrainConfig:
    values = {
        "data": {"name": "digits", "target": "scan"},
        "algorithm": {"name": "erm"},
        "imbalance": {"setting": "long_tail", "ratio": 20, "validation": 2},
        "num_steps": 4,
        "evaluate_every": 2,
        "batch_size": 4,
    }
    return TrainConfig.from_dict(values | changes)


@pytest.mark.parametrize("oracle", [False, True])
def test_every_evaluation_has_them_and_they_are_json(oracle: bool) -> None:
    training = Training(config(oracle=oracle))
    evaluation = list(training.evaluations())[-1]
    problem, labels = training.problem, training.problem.store.labels
    source = [(training.logits(part), labels[part]) for part in problem.validation]
    target = (training.logits(problem.target_test), labels[problem.target_test])
    values = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))["diagnostics"]
    assert values == diagnose(source, target, problem.groups).to_dict()
    assert evaluation.diagnostics is not None
    share_right = np.mean(decision_margins(*target) > 0)
    assert share_right == pytest.approx(evaluation.target.overall)


def test_a_cross_validation_has_none() -> None:
    training = build_training(config(select_by=["leave_one_domain_out_accuracy"], num_steps=2))
    assert [evaluation.to_dict()["diagnostics"] for evaluation in training.evaluations()] == [None]
