"""A data set is replaced under its name: trainings do not continue another one, and models stay what they were."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ndcl
from ndcl.checkpoint_files import MANIFEST
from ndcl.config import TrainConfig
from ndcl.data import Store
from ndcl.errors import UserError
from ndcl.serving import Model, export
from ndcl.training import Training, build_training, train
from tests.made.made_store import DOMAINS, make_store

torch.set_num_threads(1)
COUNTS = np.full((3, 3), 12)
OLD, NEW = ("bird", "car", "dog"), ("bird", "car", "wolf")


def config_of(folder: Path, **values: Any) -> TrainConfig:
    base: dict[str, Any] = {
        "data": {"name": "made", "folder": str(folder), "target": DOMAINS[0]},
        "algorithm": {"name": "erm"},
        "imbalance": {"setting": "natural", "validation": 2},
        "model": {"backbone": "linear"},
        "num_steps": 4,
        "evaluate_every": 2,
        "batch_size": 4,
        "device": "cpu",
    }
    return TrainConfig.from_dict(base | values)


def make(folder: Path, classes: tuple[str, ...] = OLD) -> Store:
    shutil.rmtree(folder / "made", ignore_errors=True)
    return make_store(folder / "made", COUNTS, classes, shape=(5,))


def trained(checkpoint: Path, config: TrainConfig) -> None:
    training = build_training(config)
    next(training.evaluations())
    training.save(checkpoint)


def as_version_0_1(checkpoint: Path) -> None:
    """Without what that version did not write."""
    path = checkpoint / MANIFEST
    facts = json.loads(path.read_text())
    del facts["data"]
    path.write_text(json.dumps(facts))


@pytest.mark.parametrize("select_by", ["validation_accuracy", "leave_one_domain_out_accuracy"])
def test_a_training_does_not_go_on_with_another_data_set(tmp_path: Path, select_by: str) -> None:
    make(tmp_path)
    config = config_of(tmp_path, select_by=[select_by])
    trained(tmp_path / "checkpoint", config)
    build_training(config).load(tmp_path / "checkpoint")
    make(tmp_path, NEW)
    for options in ({}, {"take_over": True}):
        with pytest.raises(UserError, match=r"made on data set 'made' of digest \w{12}, but .* --fresh$"):
            build_training(config).load(tmp_path / "checkpoint", **options)


def test_a_training_that_has_ended_is_not_shown_as_done_on_another_data_set(tmp_path: Path) -> None:
    make(tmp_path)
    list(train(config_of(tmp_path), tmp_path / "training"))
    assert list(train(config_of(tmp_path), tmp_path / "training")) == []
    make(tmp_path, NEW)
    with pytest.raises(UserError, match="under this name lies one of digest"):
        list(train(config_of(tmp_path), tmp_path / "training"))


@pytest.mark.parametrize("becomes", ["another", "nothing"])
def test_a_model_has_the_class_names_that_it_was_trained_with(tmp_path: Path, becomes: str) -> None:
    digest = make(tmp_path).digest
    trained(tmp_path / "checkpoint", config_of(tmp_path))
    if becomes == "another":
        make(tmp_path, NEW)
    else:
        shutil.rmtree(tmp_path / "made")
    export(tmp_path / "checkpoint", tmp_path / "model")
    model: Model = ndcl.load_model(tmp_path / "model")
    assert model.description.classes == OLD
    assert model.description.origin["data"] == {"name": "made", "digest": digest, "target": DOMAINS[0]}


def test_a_checkpoint_of_version_0_1_is_still_used(tmp_path: Path) -> None:
    digest = make(tmp_path).digest
    trained(tmp_path / "checkpoint", config_of(tmp_path))
    as_version_0_1(tmp_path / "checkpoint")
    Training(config_of(tmp_path)).load(tmp_path / "checkpoint")
    assert export(tmp_path / "checkpoint", tmp_path / "unknown").classes == OLD
    assert export(tmp_path / "checkpoint", tmp_path / "known", digest=digest).classes == OLD


def test_a_checkpoint_of_version_0_1_is_not_exported_with_names_of_another_data_set(tmp_path: Path) -> None:
    digest = make(tmp_path).digest
    trained(tmp_path / "checkpoint", config_of(tmp_path))
    as_version_0_1(tmp_path / "checkpoint")
    make(tmp_path, NEW)
    with pytest.raises(UserError, match="bring back the data set that it was trained on"):
        export(tmp_path / "checkpoint", tmp_path / "model", digest=digest)
    shutil.rmtree(tmp_path / "made")
    make_store(tmp_path / "made", np.full((3, 2), 12), ("bird", "car"), shape=(5,))
    with pytest.raises(UserError, match="its network does not fit data set 'made'; bring back"):
        export(tmp_path / "checkpoint", tmp_path / "model")
