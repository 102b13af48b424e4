"""What a training is judged by is measurable, or it is told before anything starts: compared with real evaluations."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ndcl.config import TrainConfig
from ndcl.criteria import CROSS_VALIDATED
from ndcl.data.problem import build_problem
from ndcl.errors import UserError
from ndcl.measurable import require_measurable
from ndcl.training import build_training
from tests.made.made_store import make_store

CRITERIA = (
    "validation_accuracy",
    "worst_domain_accuracy",
    "few_shot_accuracy",
    "leave_one_domain_out_accuracy",
    "leave_one_domain_out_likelihood",
    "oracle_accuracy",
)
ENOUGH = [[12, 9, 6]] * 3
PROBLEMS: dict[str, tuple[list[list[int]], dict[str, Any]]] = {
    "all": (ENOUGH, {"few_below": 20}),
    "no few-shot class": (ENOUGH, {"few_below": 2}),
    "one source domain": (ENOUGH[:2], {"few_below": 20}),
    "single images in the target": ([[1, 1, 1], *ENOUGH[1:]], {"few_below": 20}),
}
NOT_MEASURABLE = {
    "no few-shot class": {"few_shot_accuracy": "raise imbalance.few_below"},
    "one source domain": dict.fromkeys(CROSS_VALIDATED, "there is only one source domain"),
    "single images in the target": {"oracle_accuracy": "the target domain has no class of two images"},
}


def config_of(folder: Path, counts: list[list[int]], imbalance: dict[str, Any], criterion: str) -> TrainConfig:
    domains = ("art", "photo", "sketch")[: len(counts)]
    if not (folder / "made").exists():
        make_store(folder / "made", np.array(counts), domains=domains, shape=(6,))
    return TrainConfig.from_dict(
        {
            "data": {"name": "made", "target": "art", "folder": str(folder)},
            "algorithm": {"name": "erm"},
            "imbalance": {"setting": "natural", "validation": 2, **imbalance},
            "model": {"backbone": "linear"},
            "select_by": [criterion],
            "oracle": criterion == "oracle_accuracy",
            "num_steps": 1,
            "batch_size": 4,
        }
    )


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("name", PROBLEMS)
def test_what_is_refused_is_what_has_no_value(tmp_path: Path, name: str, criterion: str) -> None:
    config = config_of(tmp_path, *PROBLEMS[name], criterion)
    problem = build_problem(config.data, config.imbalance)
    words = NOT_MEASURABLE.get(name, {}).get(criterion)
    if words is not None:
        with pytest.raises(UserError, match=f"objective {criterion} can't be measured with target 'art': .*{words}"):
            require_measurable(problem, config.select_by)
    else:
        require_measurable(problem, config.select_by)
    try:
        [evaluation] = build_training(config, problem).evaluations()
        value = evaluation.to_dict()[criterion]
    except UserError:  # without a domain there is nothing to train on
        value = None
    assert (value is None) is (words is not None)


def test_one_class_is_nothing_to_tell_apart(tmp_path: Path) -> None:
    config = config_of(tmp_path, [[9, 0, 0]] * 3, {}, "validation_accuracy")
    with pytest.raises(UserError, match="class 'bird' is the only one with training images"):
        require_measurable(build_problem(config.data, config.imbalance), config.select_by)
