"""The trial function with a real tiny training; what it tells Tune is caught instead of sent."""

import contextlib
import gc
import json
import math
import random
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import trial
from harness.checkpoints import EVALUATION_FILE, TRAINING, is_whole
from harness.trial import EVALUATION, FAILURE, LOG, one_line, problem_of, reset_process, run_trial, to_json
from ndcl.parallel import Group
from tests.harness.made_records import base


class CaughtTune:
    """Stands for `ray.tune` inside a trial: keeps reports, and copies checkpoints as Tune does."""

    class Checkpoint:
        def __init__(self, path: str) -> None:
            self.path = path

        @classmethod
        def from_directory(cls, path: str) -> "CaughtTune.Checkpoint":
            return cls(path)

        @contextlib.contextmanager
        def as_directory(self) -> Iterator[str]:
            yield self.path

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reports: list[dict[str, str]] = []
        self.stored: list[Path] = []
        self.own: CaughtTune.Checkpoint | None = None

    def report(self, metrics: dict[str, str], checkpoint: "CaughtTune.Checkpoint | None" = None) -> None:
        self.reports.append(metrics)
        if checkpoint is not None:
            self.stored.append(self.folder / f"checkpoint_{len(self.stored):06d}")
            shutil.copytree(checkpoint.path, self.stored[-1])

    def get_checkpoint(self) -> "CaughtTune.Checkpoint | None":
        return self.own

    def evaluations(self) -> list[dict[str, Any]]:
        """Reported ones, without what differs from run to run."""
        values = [json.loads(report[EVALUATION]) for report in self.reports if EVALUATION in report]
        return [{key: item for key, item in value.items() if key not in ("seconds", "system")} for value in values]


@pytest.fixture
def caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CaughtTune:
    tune = CaughtTune(tmp_path)
    monkeypatch.setattr(trial, "tune", tune)
    return tune


def run(resume_from: Path | None = None, **changes: Any) -> None:
    run_legs([{"from_step": 0, "train": base(**changes)}], resume_from)


def run_legs(legs: list[dict[str, Any]], resume_from: Path | None = None, *, take_over: bool = False) -> None:
    earlier = str(resume_from) if resume_from else None
    run_trial({"legs": legs, "resume_from": earlier, "take_over": take_over, "num_threads": 1})


def test_every_evaluation_is_reported_with_a_whole_checkpoint(caught: CaughtTune) -> None:
    run()
    assert [e["step"] for e in caught.evaluations()] == [2, 4]
    assert len(caught.stored) == 2
    for folder, evaluation in zip(caught.stored, caught.evaluations(), strict=True):
        assert is_whole(folder)
        assert json.loads((folder / EVALUATION_FILE).read_text())["step"] == evaluation["step"]


def test_evaluations_tell_of_the_environment_and_of_what_was_used(caught: CaughtTune) -> None:
    run()
    for report in caught.reports:
        told = json.loads(report[EVALUATION])
        assert told["system"]["memory_mib"] > 50
        assert told["environment"]["data"]["name"] == "digits"


def test_the_confusions_of_the_target_are_reported(caught: CaughtTune) -> None:
    run()
    for evaluation in caught.evaluations():
        counts = np.array(evaluation["target_confusion"])
        assert counts.shape == (10, 10)
        assert counts.sum() == evaluation["target"]["num_images"]
        assert np.trace(counts) / counts.sum() == pytest.approx(evaluation["target"]["overall"])


def test_a_resumed_trial_repeats_the_last_report_and_goes_on_as_if_never_stopped(caught: CaughtTune) -> None:
    run()
    whole = caught.evaluations()
    first = caught.stored[0]
    caught.reports.clear()
    run(first)
    assert caught.evaluations() == whole
    assert len(caught.stored) == 3


def test_the_checkpoint_of_this_attempt_comes_before_that_of_an_earlier_one(caught: CaughtTune) -> None:
    run()
    earlier, own = caught.stored
    caught.reports.clear()
    caught.own = CaughtTune.Checkpoint(str(own))
    run(earlier)
    assert [e["step"] for e in caught.evaluations()] == [4]


def test_a_worker_that_does_not_see_the_checkpoint_of_the_first_is_refused(
    caught: CaughtTune, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Group, "from_first", lambda self, values: [2.0])
    run(caught.folder / "not-here")
    [report] = caught.reports
    assert "sees no checkpoint of step 2, from which the first worker goes on; put the results" in report[FAILURE]


@pytest.mark.parametrize("damaged", [f"{TRAINING}/state.pt", f"{TRAINING}/checkpoint.json", EVALUATION_FILE])
def test_a_damaged_checkpoint_is_passed_over(caught: CaughtTune, damaged: str) -> None:
    run()
    folder = caught.stored[0]
    (folder / damaged).write_bytes((folder / damaged).read_bytes()[:-20])
    assert not is_whole(folder)
    caught.reports.clear()
    run(folder)
    assert [e["step"] for e in caught.evaluations()] == [2, 4]


def test_an_exploding_loss_is_reported_as_a_failure(caught: CaughtTune) -> None:
    run(optimizer={"learning_rate": 1e30, "weight_decay": 0.0})
    assert set(caught.reports[-1]) == {FAILURE, LOG}
    assert caught.reports[-1][FAILURE].startswith("NonFiniteLossError: ")
    *frames, last = caught.reports[-1][LOG].splitlines()
    assert any("in _require_finite" in line for line in frames)
    assert last == f"ndcl.errors.{caught.reports[-1][FAILURE]}"


def test_any_other_error_of_a_training_is_a_failure_in_one_line(caught: CaughtTune) -> None:
    run(imbalance={"setting": "no_such_setting"})
    assert caught.reports[-1][FAILURE].startswith("UserError: ")
    assert "\n" not in caught.reports[-1][FAILURE]


def test_a_process_is_reset_between_trials() -> None:
    def state() -> tuple[Any, ...]:
        draws = (random.random(), float(np.random.rand()), float(torch.rand(())))
        return (*draws, torch.get_num_threads(), torch.backends.cudnn.benchmark, torch.get_default_dtype())

    reset_process(5, 1)
    fresh = state()
    torch.backends.cudnn.benchmark = True
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(2)
    reset_process(5, 1)
    assert state() == fresh
    assert torch.get_default_dtype() == torch.float32


def test_what_a_trial_leaves_behind_is_freed_and_what_is_imported_is_not_searched_for_it() -> None:
    class Left:
        def __init__(self) -> None:
            self.itself = self

    reset_process(0, 1)
    frozen, left = gc.get_freeze_count(), weakref.ref(Left())
    assert frozen > 100_000
    reset_process(0, 1)
    assert left() is None
    assert gc.get_freeze_count() <= frozen


def test_a_trial_does_not_depend_on_what_ran_before_in_its_process(caught: CaughtTune) -> None:
    run()
    alone = caught.evaluations()
    run(seed=3)
    caught.reports.clear()
    run()
    assert caught.evaluations() == alone


def test_trials_of_one_problem_share_it(caught: CaughtTune) -> None:
    problem_of.cache_clear()
    run()
    run(seed=1, batch_size=5)
    assert problem_of.cache_info().misses == 1
    run(data=base()["data"] | {"target": "sign"})
    assert problem_of.cache_info().misses == 2


def test_json_knows_no_nan() -> None:
    assert json.loads(to_json({"a": [math.nan, math.inf, 1.5], "b": {"c": -math.inf}})) == {
        "a": [None, None, 1.5],
        "b": {"c": None},
    }


def test_an_error_is_one_bounded_line() -> None:
    assert one_line(ValueError("two\n  lines")) == "ValueError: two lines"
    assert one_line(MemoryError()) == "MemoryError"
    assert len(one_line(ValueError("x" * 10_000))) == 500
