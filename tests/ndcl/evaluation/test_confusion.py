"""Confusion matrices of an evaluation: counted right, and no part of it unless they are asked for."""

import json
from typing import get_args

import numpy as np
import pytest

from ndcl.criteria import LAST_STEP, OBJECTIVES, Criterion
from ndcl.evaluation import CRITERIA, Accuracies, Evaluation, accuracies
from ndcl.evaluation.evaluation import MOST_CONFUSED, with_confusion


def measured(num_classes: int = 3) -> Accuracies:
    labels, predictions = np.array([0, 0, 0, 2, 2]), np.array([0, 1, 0, 0, 2])
    return accuracies(labels, predictions, np.zeros(num_classes, np.int64))


def test_rows_are_true_classes_and_columns_what_they_were_taken_for():
    assert measured().confusion == ((2, 1, 0), (0, 0, 0), (1, 0, 1))


def test_it_agrees_with_counting_one_by_one():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(7, size=200), rng.integers(7, size=200)
    counts = np.zeros((7, 7), int)
    for label, prediction in zip(labels, predictions, strict=True):
        counts[label, prediction] += 1
    part = accuracies(labels, predictions, np.zeros(7, np.int64))
    assert part.confusion == tuple(map(tuple, counts.tolist()))
    assert part.overall == pytest.approx(np.trace(counts) / 200)


def test_many_classes_have_none():
    assert measured(MOST_CONFUSED).confusion is not None
    assert measured(MOST_CONFUSED + 1).confusion is None


def test_it_is_in_the_json_form_only_if_it_is_asked_for():
    evaluation = Evaluation(step=1, seconds=0.0, losses={}, validation={"a": measured()}, target=measured())
    plain, told = evaluation.to_dict(), with_confusion(evaluation)
    assert "confusion" not in json.dumps(plain)
    assert told == plain | {"target_confusion": [[2, 1, 0], [0, 0, 0], [1, 0, 1]]}


def test_every_criterion_is_measured() -> None:
    assert tuple(CRITERIA) == get_args(Criterion)
    assert (*OBJECTIVES, LAST_STEP) == get_args(Criterion)
