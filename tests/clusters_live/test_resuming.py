"""Negative controls of the clusters' lives, without a cluster: without what they rest on, their claim does not hold."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.records import TrialRecord
from harness.trials.trial import AnyTraining, evaluated, write_checkpoint
from tests.clusters_live.went_on import check_went_on
from tests.made.made_records import base, record


def trained(reached: TrialRecord, resume_from: str | None) -> Iterator[tuple[TrialRecord, AnyTraining | None, str]]:
    """An attempt at the trial, as its process makes it: the record after each evaluation."""
    config = {
        "segments": [{"from_step": 0, "train": reached.config}],
        "resume_from": resume_from,
        "take_over": False,
        "num_threads": 1,
        "num_gpus": 0,
        "working_folder": str(Path.cwd()),
    }
    for training, evaluation in evaluated(config, None):
        reached = reached.with_evaluation(json.loads(evaluation))
        yield reached, training, evaluation


def cut_off(folder: Path) -> TrialRecord:
    """A trial that has left a checkpoint in `folder` when its machine is lost."""
    begun = replace(record(0, "running"), config=base(num_steps=8), evaluations=())
    for reached, training, evaluation in trained(begun, None):
        if reached.step == 4:
            assert training is not None
            write_checkpoint(folder, training, evaluation)
            return replace(reached, checkpoint=str(folder))
    raise AssertionError("it did not come to step 4")


def tried_again(before: TrialRecord, resume_from: str | None) -> TrialRecord:
    *_, (after, _, _) = trained(replace(before, attempts=2), resume_from)
    return replace(after, state="finished")


def test_a_trial_goes_on_from_a_checkpoint_that_all_machines_share(tmp_path: Path) -> None:
    before = cut_off(tmp_path / "shared")
    check_went_on(before, tried_again(before, before.checkpoint))


def test_without_a_shared_storage_it_begins_anew_and_that_is_seen(tmp_path: Path) -> None:
    before = cut_off(tmp_path / "lost")
    with pytest.raises(AssertionError, match="it began anew"):
        check_went_on(before, tried_again(before, None))


def test_without_another_attempt_it_fails_and_that_is_seen(tmp_path: Path) -> None:
    before = cut_off(tmp_path / "shared")
    with pytest.raises(AssertionError, match="a node was lost"):
        check_went_on(before, replace(before, state="failed", reason="a node was lost"))
