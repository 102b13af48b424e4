"""One training by itself: stopped, continued by the same command, and continued on two processes."""

import json
import re
from pathlib import Path

import pytest

from tests.journeys.clone import Clone
from tests.journeys.guides import block

CONFIG = block("docs/commands.md", "data: {name: digits, target: sign}").text
QUICK = ("evaluate_every=5", "batch_size=4")
TRAIN, CONTINUE = block("docs/commands.md", "ndcl train mine.yaml").lines


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
    with clone.start(TRAIN, *QUICK) as running:
        running.wait_until(lambda: len(evaluations(folder)) >= 2)
        assert running.interrupt() == 130
        assert "the same command resumes" in running.text
    first = evaluations(folder)
    last = first[-1]["step"]
    printed = clone.type(TRAIN, *QUICK, f"num_steps={last + 10}")
    assert f"checkpoint and evaluations: {folder.relative_to(clone.folder)}" in printed
    second = evaluations(folder)
    assert numbers(second)[: len(first)] == numbers(first)
    assert [e["step"] for e in second] == list(range(5, last + 11, 5))
    printed = clone.type(f"{TRAIN} --workers 2", *QUICK, f"num_steps={last + 15}")
    assert evaluations(folder)[: len(second)] == second
    assert evaluations(folder)[-1]["step"] == last + 15
    assert re.search(r"best checkpoint: step \d+", printed)


def test_a_fresh_training_that_fails_leaves_the_earlier_one(clone: Clone, folder: Path) -> None:
    before = evaluations(folder)
    assert before
    settings = (*QUICK, "device=cuda", "num_steps=5")
    printed = clone.type(f"{TRAIN} --fresh", *settings, code=2)
    assert "cuda" in printed.lower()
    assert evaluations(folder) == before
    printed = clone.type(f"{TRAIN} --fresh", *QUICK, "num_steps=5", "profile={from_step: 5}")
    assert "warning: profile.from_step: 5 of 5 steps: nothing is profiled; lower it, or train for more" in printed
    assert [each["step"] for each in evaluations(folder)] == [5]


def test_it_is_continued_as_the_page_says(clone: Clone, folder: Path) -> None:
    printed = clone.type(CONTINUE.replace("num_steps=600", "num_steps=10"), *QUICK)
    assert "best checkpoint: step" in printed
    assert [each["step"] for each in evaluations(folder)] == [5, 10]
    assert "num_steps: 5 is less than the 10 steps" in clone.type(TRAIN, *QUICK, "num_steps=5", code=2)


def test_a_second_process_in_the_same_folder_is_refused(clone: Clone, folder: Path) -> None:
    before = evaluations(folder)
    with clone.start(CONTINUE.replace("num_steps=600", "num_steps=4000"), *QUICK) as running:
        running.wait_until(lambda: len(evaluations(folder)) > len(before))
        printed = clone.type(CONTINUE, *QUICK, code=2)
        assert len(printed.splitlines()) == 1, printed
        assert "is being trained by another process" in printed
        assert running.interrupt() == 130


def test_a_damaged_checkpoint_is_named_and_replaced(clone: Clone, folder: Path) -> None:
    newest = max(folder.glob("step-*"), key=lambda path: path.stat().st_mtime)
    for file in newest.iterdir():
        file.write_bytes(file.read_bytes()[:100])
    step = evaluations(folder)[-1]["step"]
    printed = clone.type(CONTINUE.replace("num_steps=600", f"num_steps={step + 5}"), *QUICK)
    assert "damaged" in printed
    assert "best checkpoint: step" in printed
    assert [each["step"] for each in evaluations(folder)] == list(range(5, step + 6, 5))
