"""A sweep that looks as if it had run: records made by hand, with real checkpoints of tiny trainings."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.records import Journal, TrialRecord
from harness.trials.messages import to_json
from harness.trials.trial import write_checkpoint
from ndcl.config import TrainConfig
from ndcl.training import Training
from tests.made.made_records import record

NAME = "made"


def made_sweep(results: Path, *records: TrialRecord) -> Path:
    """Write the sweep's journal and a checkpoint for each of its final runs; returns its folder."""
    folder = results / NAME
    folder.mkdir(parents=True)
    for one in records or (record(0), record(0, stage="final", rate=1e-3, seed=1)):
        Journal(folder).write(with_training(folder, one) if one.stage == "final" else one)
    return folder


def with_training(folder: Path, made: TrialRecord) -> TrialRecord:
    """The record of a training that is done now, but for its validation accuracy, which stays the record's."""
    training = Training(TrainConfig.from_dict(made.config))
    evaluations = []
    for evaluation, as_made in zip(training.evaluations(), made.evaluations, strict=True):
        accuracy = {"validation_accuracy": as_made["validation_accuracy"]}
        evaluations.append(evaluation.to_dict() | accuracy)
    checkpoint = folder / "ray" / "run-0001" / made.name / "checkpoint_000001"
    checkpoint.mkdir(parents=True)
    write_checkpoint(checkpoint, training, to_json(evaluations[-1]))
    environment = {"git_revision": "of the training"}
    return replace(made, evaluations=tuple(evaluations), checkpoint=str(checkpoint), environment=environment)


def trained_again(made: TrialRecord) -> Training:
    """The training of a record, ended once more, its network the best one."""
    values: dict[str, Any] = made.config
    training = Training(TrainConfig.from_dict(values))
    list(training.evaluations())
    assert training.best is not None
    training.network.load_state_dict(training.best["network"])
    return training
