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

from harness.storage.checkpoints import CHECKPOINT_GONE, EVALUATION_FILE, TRAINING, is_whole
from harness.trials import trial
from harness.trials.messages import EVALUATION, FAILURE, LOG, NOTICE, one_line, to_json
from harness.trials.trial import NodeTakenError, problem_of, reset_process, run_trial
from ndcl.data import open_dataset
from ndcl.parallel import Group
from ndcl.training import Training
from tests.made.made_records import base


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


def run_legs(
    segments: list[dict[str, Any]], resume_from: Path | None = None, *, take_over: bool = False, num_gpus: int = 0
) -> None:
    run_trial(
        {
            "segments": segments,
            "resume_from": str(resume_from) if resume_from else None,
            "take_over": take_over,
            "num_threads": 1,
            "num_gpus": num_gpus,
            "working_folder": str(Path.cwd()),
        }
    )


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


def combine(*checkpoints: Path | None) -> None:
    members = [
        {"name": f"final-{n}", "train": base(seed=n), "checkpoint": None if path is None else str(path)}
        for n, path in enumerate(checkpoints)
    ]
    run_trial(
        {
            "segments": [{"from_step": 0, "train": base()}],
            "members": members,
            "resume_from": None,
            "take_over": False,
            "num_threads": 1,
            "num_gpus": 0,
            "working_folder": str(Path.cwd()),
        }
    )


def test_an_ensemble_reports_one_evaluation_and_no_checkpoint(caught: CaughtTune) -> None:
    for seed in (0, 1):
        run(seed=seed)
    members = caught.stored[1::2]
    caught.reports.clear()
    combine(*members)
    assert len(caught.stored) == 4
    [evaluation] = caught.evaluations()
    assert evaluation["step"] == 4
    assert evaluation["ensemble"]["members"] == ["final-0", "final-1"]
    assert evaluation["ensemble"]["of"] == "probabilities"
    assert np.array(evaluation["target_confusion"]).sum() == evaluation["target"]["num_images"]
    assert evaluation["environment"]["data"]["name"] == "digits"


def test_an_ensemble_says_which_checkpoint_is_gone(caught: CaughtTune) -> None:
    run()
    member = caught.stored[1]
    caught.reports.clear()
    combine(member, None)
    combine(member, caught.folder / "not-here")
    reasons = [report[FAILURE] for report in caught.reports]
    assert len(reasons) == 2
    assert all(f"final-1: {CHECKPOINT_GONE}" in reason for reason in reasons)


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
    assert "sees no checkpoint of step 2, which the first worker has; put the results" in report[FAILURE]


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
    assert caught.reports[-1][LOG] == "", "a user's mistake is told without a traceback"


def test_a_process_is_reset_between_trials() -> None:
    def state() -> tuple[Any, ...]:
        draws = (random.random(), float(np.random.rand()), float(torch.rand(())))
        return (*draws, torch.get_num_threads(), torch.backends.cudnn.benchmark, torch.get_default_dtype())

    reset_process(5, 1)
    fresh = state()
    torch.backends.cudnn.benchmark = True
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)
    reset_process(5, 1)
    assert state() == fresh
    assert not torch.are_deterministic_algorithms_enabled()
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


def test_weights_that_were_taken_over_and_are_gone_are_told_and_not_replaced_by_new_ones(caught: CaughtTune) -> None:
    run_legs([{"from_step": 0, "train": base()}], caught.folder / "gone", take_over=True)
    [report] = caught.reports
    assert CHECKPOINT_GONE in report[FAILURE]
    assert str(caught.folder / "gone") in report[FAILURE]


def test_a_reserved_gpu_that_torch_can_not_use_is_a_failure_that_names_driver_and_cuda(
    caught: CaughtTune, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run_legs([{"from_step": 0, "train": base()}], num_gpus=1)
    [report] = caught.reports
    assert report[FAILURE].startswith("UnusableGpuError: a GPU is reserved for this training, but torch can't use it")
    assert f"torch {torch.__version__}, built for CUDA {torch.version.cuda}" in report[FAILURE]
    caught.reports.clear()
    run_legs([{"from_step": 0, "train": base(device="cpu")}], num_gpus=1)
    assert [e["step"] for e in caught.evaluations()] == [2, 4], "the CPU was asked for"


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_error_of_the_device_ends_the_process_and_is_no_failure_of_the_training(
    caught: CaughtTune, monkeypatch: pytest.MonkeyPatch, wrapped: bool
) -> None:
    def fails(training: Training) -> Any:
        try:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        except RuntimeError as error:
            if wrapped:
                raise ValueError("the step failed") from error
            raise

    monkeypatch.setattr(Training, "evaluations", fails)
    with pytest.raises(ValueError if wrapped else torch.AcceleratorError):
        run()
    assert caught.reports == []


def test_an_error_after_which_the_device_answers_no_more_ends_the_process_too(
    caught: CaughtTune, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED")

    monkeypatch.setattr(Training, "evaluations", fails)
    run()
    assert [report[FAILURE] for report in caught.reports] == ["RuntimeError: CUBLAS_STATUS_EXECUTION_FAILED"]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", fails)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    with pytest.raises(RuntimeError):
        run()


def test_paths_are_relative_to_where_the_sweep_was_started(
    caught: CaughtTune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_dataset("digits", str(tmp_path / "data"))
    config = {
        "segments": [{"from_step": 0, "train": base(data=base()["data"] | {"folder": "data"})}],
        "resume_from": None,
        "take_over": False,
        "num_threads": 1,
        "num_gpus": 0,
        "working_folder": str(tmp_path),
    }
    (tmp_path / "trial").mkdir()
    monkeypatch.chdir(tmp_path / "trial")  # where Tune has gone
    run_trial(config)
    assert [e["environment"]["data"]["folder"] for e in caught.evaluations()] == ["data/digits"] * 2


def told_after(looks: int) -> type:
    """A notice that is given between one look, of which there is one a step, and the next."""

    class Notice:
        def __init__(self) -> None:
            self.looks = 0

        def __call__(self) -> bool:
            self.looks += 1
            return self.looks >= looks

    return Notice


@pytest.mark.parametrize(("looks", "step", "reported"), [(1, 1, []), (2, 3, [2])])
def test_at_its_nodes_notice_a_trial_leaves_a_checkpoint_and_continues_from_that_step(
    caught: CaughtTune, monkeypatch: pytest.MonkeyPatch, looks: int, step: int, reported: list[int]
) -> None:
    run()
    whole = caught.evaluations()
    caught.reports.clear()
    monkeypatch.setattr(trial, "NodeNotice", told_after(looks))
    with pytest.raises(NodeTakenError, match=f"stopped after step {step}"):
        run()
    assert [e["step"] for e in caught.evaluations()] == reported
    assert list(caught.reports[-1]) == [NOTICE]
    assert is_whole(caught.stored[-1])
    assert json.loads((caught.stored[-1] / TRAINING / "checkpoint.json").read_text())["step"] == step
    monkeypatch.undo()
    monkeypatch.setattr(trial, "tune", caught)
    caught.own = CaughtTune.Checkpoint(str(caught.stored[-1]))
    caught.reports.clear()
    run()
    assert caught.evaluations() == whole


CROSS_VALIDATED = {"select_by": ["leave_one_domain_out_accuracy"]}


def test_at_its_nodes_notice_a_trial_that_leaves_domains_out_continues_each_from_its_own_step(
    caught: CaughtTune, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(**CROSS_VALIDATED)
    whole = caught.evaluations()
    caught.reports.clear()
    monkeypatch.setattr(trial, "NodeNotice", told_after(5))  # of three a round
    with pytest.raises(NodeTakenError):
        run(**CROSS_VALIDATED)
    assert [e["step"] for e in caught.evaluations()] == [2]
    folds = [caught.stored[-1] / TRAINING / f"fold-{number}" for number in range(3)]
    assert [json.loads((fold / "checkpoint.json").read_text())["step"] for fold in folds] == [4, 3, 2]
    monkeypatch.undo()
    monkeypatch.setattr(trial, "tune", caught)
    caught.own = CaughtTune.Checkpoint(str(caught.stored[-1]))
    caught.reports.clear()
    run(**CROSS_VALIDATED)
    assert caught.evaluations() == whole
