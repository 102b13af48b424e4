"""A training that leaves no domain out."""

from typing import Any

import numpy as np
import pytest

from ndcl.config import TrainConfig
from ndcl.data.problem import build_problem
from ndcl.errors import UserError
from ndcl.training import Training
from tests.made.made_store import make_store

BASE: dict[str, Any] = {
    "data": {"name": "digits", "target": "none"},
    "imbalance": {"setting": "long_tail", "ratio": 20, "validation": 3},
    "algorithm": {"name": "ndcl"},
    "num_steps": 2,
    "evaluate_every": 2,
    "batch_size": 4,
}


def config(**changes: Any) -> TrainConfig:
    return TrainConfig.from_dict(BASE | changes)


def problem_of(**changes: Any) -> Any:
    made = config(**changes)
    return build_problem(made.data, made.imbalance)


def test_all_domains_are_sources() -> None:
    problem = problem_of()
    assert problem.source_domains == ("scan", "texture", "print", "sign")
    assert len(problem.target_test) == len(problem.target_oracle) == 0
    others = problem_of(data={"name": "digits", "target": "sign"})
    for domain in range(3):
        assert np.array_equal(problem.train[domain], others.train[domain])


@pytest.mark.parametrize("setting", ["natural", "total_heavy_tail", "cross", "duality", "imbalanced_domains"])
def test_settings_without_tables_by_target_are_taken(setting: str) -> None:
    reference = problem_of(imbalance={"setting": setting}, data={"name": "digits", "target": "sign"})
    assert len(problem_of(imbalance={"setting": setting}).train) == len(reference.train) + 1


def test_a_released_table_has_none_for_it() -> None:
    with pytest.raises(UserError, match="has a table for each target domain, none for a training without one"):
        problem_of(imbalance={"setting": "released/duality"})


def test_it_is_evaluated_on_its_sources_alone() -> None:
    [evaluation] = Training(config()).evaluations()
    values = evaluation.to_dict()
    assert len(values["validation"]) == 4
    assert values["target"]["overall"] is None
    assert values["calibration"]["target"]["nll"] is None
    assert values["validation_accuracy"] is not None


def test_a_domain_of_that_name_is_a_domain(tmp_path: Any) -> None:
    store = make_store(tmp_path / "set", np.full((3, 3), 12), domains=("art", "none", "photo"), shape=(7,))
    data = {"name": str(store.folder), "target": "none"}
    problem = problem_of(data=data, imbalance={"setting": "natural", "validation": 2})
    assert problem.source_domains == ("art", "photo")
    assert len(problem.target_test) > 0
