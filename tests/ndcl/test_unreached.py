"""Numbers of steps that lie beyond a training's end."""

import pytest

from ndcl.config import TrainConfig
from ndcl.unreached import unreached

BASE = {"data": {"name": "digits", "target": "scan"}, "num_steps": 30, "evaluate_every": 10}


def config(**changes: object) -> TrainConfig:
    return TrainConfig.from_dict({**BASE, "algorithm": {"name": "erm"}, **changes})


@pytest.mark.parametrize(
    ("key", "inside", "beyond", "what"),
    [
        ("optimizer.warmup_steps", {"warmup_steps": 29}, {"warmup_steps": 30}, "30 of 30 steps: the learning rate"),
        ("model.head_warmup_steps", {"head_warmup_steps": 29}, {"head_warmup_steps": 31}, "31 of 30 steps: the backb"),
        (
            "averaging.start_patience",
            {"name": "swad", "start_patience": 3},
            {"name": "swad", "start_patience": 4},
            "4 of 3 evaluations: where the valley begins",
        ),
        ("profile.from_step", {"from_step": 29}, {"from_step": 30}, "30 of 30 steps: nothing is profiled"),
        (
            "algorithm.penalty_from_step",
            {"name": "irm", "penalty_from_step": 29},
            {"name": "irm", "penalty_from_step": 5000},
            "5000 of 30 steps: what irm does from then on never begins",
        ),
        (
            "algorithm.retrain_from_step",
            {"name": "crt", "retrain_from_step": 29},
            {"name": "crt", "retrain_from_step": 30},
            "30 of 30 steps: what crt does from then on never begins",
        ),
    ],
)
def test_what_lies_beyond_the_end_is_said(key: str, inside: dict, beyond: dict, what: str) -> None:
    group = key.partition(".")[0]
    assert unreached(config(**{group: inside})) == {}
    [(found, said)] = unreached(config(**{group: beyond})).items()
    assert found == key
    assert said.startswith(what)
    assert said.endswith("; lower it, or train for more steps")


def test_a_patience_that_is_not_used_is_not_told() -> None:
    assert unreached(config(num_steps=10)) == {}
