"""The trace of a training's steps: which steps, where it lies, and that numbers stay as they are."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ndcl.checkpoints import content
from ndcl.training import build_training, train
from ndcl.training.profiling import TRACE
from tests.ndcl.training.test_training import config_of, parameters, same

torch.set_num_threads(1)


def steps_in(trace: bytes) -> int:
    events = json.loads(gzip.decompress(trace))["traceEvents"]
    return sum(event.get("name") == "Optimizer.step#Adam.step" and event.get("ph") == "X" for event in events)


@pytest.mark.parametrize(
    ("wanted", "seen"),
    [({"from_step": 2, "steps": 3}, 3), ({"from_step": 0, "steps": 1}, 1), ({"from_step": 7, "steps": 5}, 2)],
)
def test_the_steps_that_are_asked_for_are_watched(wanted: dict[str, int], seen: int, tmp_path: Path) -> None:
    list(train(config_of(profile=wanted), tmp_path))
    assert steps_in((tmp_path / TRACE).read_bytes()) == seen


@pytest.mark.parametrize("values", [{"profile": None}, {"profile": {"from_step": 9}}])
def test_without_such_steps_there_is_no_trace(values: dict[str, Any], tmp_path: Path) -> None:
    list(train(config_of(**values), tmp_path))
    assert not (tmp_path / TRACE).exists()


def test_a_watched_training_is_the_same_and_may_resume_one_that_was_not(tmp_path: Path) -> None:
    plain, watched = (build_training(config_of(profile=profile)) for profile in (None, {"from_step": 4, "steps": 2}))
    for training in (plain, watched):
        list(training.evaluations())
    assert same(parameters(plain), parameters(watched))  # type: ignore[arg-type]
    list(train(config_of(num_steps=3), tmp_path))
    list(train(config_of(profile={"from_step": 4, "steps": 2}), tmp_path))
    assert steps_in((tmp_path / TRACE).read_bytes()) == 2
    newest = content.newest(tmp_path)
    assert newest is not None
    for key, value in content.read(newest)[0]["network"].items():
        assert torch.equal(value, plain.network.state_dict()[key])  # type: ignore[union-attr]
