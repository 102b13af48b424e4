"""One training by itself: stopped, continued by the same command, and continued on two processes."""

import json
import re
from pathlib import Path

import pytest

from tests.journeys.clone import Clone

CONFIG = """\
data: {name: digits, target: sign}
imbalance: {setting: long_tail, ratio: 20, validation: 2}
algorithm: {name: erm}
num_steps: 400
evaluate_every: 5
batch_size: 4
"""
TRAIN = "ndcl train mine.yaml"


@pytest.fixture(scope="module", autouse=True)
def folder(clone: Clone) -> Path:
    (clone.folder / "mine.yaml").write_text(CONFIG)
    return clone.folder / "results" / "train" / "mine"


def evaluations(folder: Path) -> list[dict]:
    path = folder / "evaluations.json"
    return json.loads(path.read_text()) if path.exists() else []


def numbers(found: list[dict]) -> list[dict]:
    """All but the time: what was written before its checkpoint, and then interrupted, is evaluated once more."""
    return [{key: value for key, value in evaluation.items() if key != "seconds"} for evaluation in found]


def test_a_training_that_is_interrupted_goes_on_alone_and_on_two_processes(clone: Clone, folder: Path) -> None:
    with clone.start(TRAIN) as running:
        running.wait_until(lambda: len(evaluations(folder)) >= 2)
        assert running.interrupt() == 130
        assert "the same command resumes" in running.text
    first = evaluations(folder)
    last = first[-1]["step"]
    printed = clone.type(TRAIN, f"num_steps={last + 10}")
    assert f"checkpoint and evaluations: {folder.relative_to(clone.folder)}" in printed
    second = evaluations(folder)
    assert numbers(second)[: len(first)] == numbers(first)
    assert [e["step"] for e in second] == list(range(5, last + 11, 5))
    printed = clone.type(f"{TRAIN} --workers 2", f"num_steps={last + 15}")
    assert evaluations(folder)[: len(second)] == second
    assert evaluations(folder)[-1]["step"] == last + 15
    assert re.search(r"best checkpoint: step \d+", printed)


def test_a_fresh_training_that_fails_leaves_the_earlier_one(clone: Clone, folder: Path) -> None:
    before = evaluations(folder)
    assert before
    settings = ("device=cuda", "num_steps=5")
    printed = clone.type(f"{TRAIN} --fresh", *settings, code=2)
    assert "cuda" in printed.lower()
    assert evaluations(folder) == before
    printed = clone.type(f"{TRAIN} --fresh", "num_steps=5", "optimizer.warmup_steps=5")
    assert "warning: optimizer.warmup_steps: 5 of 5 steps: the learning rate never arrives at its value" in printed
    assert [each["step"] for each in evaluations(folder)] == [5]
