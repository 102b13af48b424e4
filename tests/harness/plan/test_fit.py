"""A plan says what the sweep would refuse on this machine, by the same check, and what its trainings would."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from harness.cli import app
from harness.cluster import local_ray
from harness.config import SweepConfig
from harness.config.demand import num_at_once
from harness.plan import Plan, make_plan
from harness.plan import fit as fit_module
from harness.plan.checks import buildable
from harness.plan.fit import fit, require_fit
from ndcl.config import TrainConfig
from ndcl.errors import UserError
from tests.integration import sweeps
from tests.made.made_records import base
from tests.made.made_store import make_store


def plan_of(**changes: Any) -> Plan:
    values = {**sweeps.TINY, **changes}
    config = SweepConfig.model_validate(values)
    return make_plan(config, Path("results"), domains=lambda *_: ("scan", "sign"), check=lambda config: None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"resources": {"cpus_per_trial": 64_000}}, "resources: a trial needs 64000 CPU, but there are"),
        ({"resources": {"gpus_per_trial": 1}}, "resources: a trial needs 1 GPU, but there are 0"),
        ({"final": {"seeds": 1, "resources": {"cpus_per_trial": 64_000}}}, "final.resources: a trial needs 64000 CPU"),
        ({"train": {"device": "cuda"}}, "train.device: 'cuda' was asked for, but torch sees no GPU"),
        (
            {"train": {"model": {"backbone": "resnet18", "weights": "gone.pt"}}},
            "model.weights: no file 'gone.pt'; give imagenet, none, or the path",
        ),
    ],
)
def test_what_this_machine_lacks_is_told_by_plan_and_refused_by_sweep(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], words: str
) -> None:
    monkeypatch.setattr(fit_module, "_num_gpus", lambda: 0.0)
    assert words in str(fit(plan_of(**changes)).problem)
    with pytest.raises(UserError, match="or run it on a cluster with --address"):
        require_fit(plan_of(**changes))


def test_a_gpu_is_enough_for_what_asks_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_module, "_num_gpus", lambda: 1.0)
    plan = plan_of(train={"device": "cuda"}, resources={"gpus_per_trial": 0.5, "cpus_per_trial": 0.1})
    assert fit(plan) == fit_module.Fit(at_once={"search": 2, "final": 2}, problem=None)
    assert num_at_once(plan.occupied["search"], [{"CPU": 1.0, "GPU": 1.0}]) == 2


def test_both_commands_say_the_same_and_a_cluster_is_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sweeps.written(tmp_path, resources={"cpus_per_trial": 64_000})
    told = CliRunner().invoke(app, ["plan", str(path), "--results", str(tmp_path)])
    assert told.exit_code == 0
    start = "warning: on this machine ndcl sweep would refuse it, on a cluster (--address) it may run: "
    [line] = [line for line in told.output.splitlines() if line.startswith(start)]
    monkeypatch.setattr(local_ray, "local_ray", None)  # it must not come so far
    refused = CliRunner().invoke(app, ["sweep", str(path), "--results", str(tmp_path / "none")])
    assert refused.exit_code == 2
    assert line.removeprefix(start) in refused.output
    assert not (tmp_path / "none").exists()

    def joined(*_: Any, **options: Any) -> None:
        raise UserError(f"joining {options['address']}")

    monkeypatch.setattr("harness.sweep.run.run_sweep", joined)
    joins = CliRunner().invoke(app, ["sweep", str(path), "--results", str(tmp_path / "none"), "--address", "auto"])
    assert "joining auto" in joins.output


def test_a_plan_says_that_the_folder_has_another_sweep(tmp_path: Path) -> None:
    path = sweeps.written(tmp_path)
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "sweep.yaml").write_text(yaml.safe_dump(sweeps.planned(path, tmp_path).resolved))
    assert "refuse" not in CliRunner().invoke(app, ["plan", str(path), "--results", str(tmp_path)]).output
    options = ["--results", str(tmp_path), "--set", "search.seed=9"]
    output = CliRunner().invoke(app, ["plan", str(path), *options]).output
    assert "warning: ndcl sweep would refuse it: sweep 'tiny' in" in output
    assert "was started with other values (search.seed: " in output


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_store(folder / "images", np.full((3, 3), 9), shape=(32, 32, 3))
    return folder


BATCHNORM = "model.freeze_batchnorm: false works with one worker"


@pytest.mark.parametrize(
    ("model", "train", "on_several", "words"),
    [
        ({"freeze_batchnorm": False}, {"micro_batch_size": 4}, False, BATCHNORM),
        ({"freeze_batchnorm": False}, {"activation_checkpointing": True}, False, BATCHNORM),
        ({"freeze_batchnorm": False}, {}, True, BATCHNORM),
        ({"backbone": "small_cnn"}, {"activation_checkpointing": True}, False, "this backbone has no blocks"),
        ({}, {"data": {"augment_on": "gpu"}}, False, "images holds no raw photographs"),
        ({}, {"algorithm": {"name": "arm"}}, True, "algorithm.name: arm shows each row what its domain's whole batch"),
        ({"backbone": "mlp"}, {"algorithm": {"name": "arm"}}, False, "model.backbone: the algorithm gives images anot"),
    ],
)
def test_what_every_training_would_refuse_is_found_before(
    data: Path, model: dict[str, Any], train: dict[str, Any], on_several: bool, words: str
) -> None:
    values = base() | {key: value for key, value in train.items() if key != "data"}
    values["data"] |= {"name": "images", "target": "art", "folder": str(data)} | train.get("data", {})
    values |= {"imbalance": {"setting": "natural"}, "model": {"backbone": "resnet18", **model}}
    config = TrainConfig.from_dict(values)
    with pytest.raises(UserError, match=words):
        buildable(config, on_several=on_several)
    if not on_several and "augment_on" not in train.get("data", {}):
        from ndcl.training import Training

        with pytest.raises(UserError, match=words):
            Training(config)
    assert torch.get_default_device().type == "cpu"
