"""Final runs of shared weights as one network: from the sweep's file to predictions of the exported model."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.records import TrialRecord, best_checkpoint
from harness.records.record import AVERAGED
from ndcl import load_model
from ndcl.config import TrainConfig
from ndcl.data.problem import build_problem
from tests.integration import sweeps

timm = pytest.importorskip("timm")
STUDY = "erm.digits.long_tail-20.scan"
BACKBONE = "test_efficientnet"


def written(folder: Path, **train: Any) -> Path:
    """A sweep of one study, which fine-tunes a network whose weights lie in a file."""
    torch.manual_seed(0)
    torch.save(timm.create_model(BACKBONE).state_dict(), folder / "weights.pt")
    model = {"model.backbone": f"timm:{BACKBONE}", "model.weights": str(folder / "weights.pt"), "model.head_seed": 0}
    return sweeps.written(
        folder,
        data={"name": "digits", "targets": ["scan"], "image_size": 32},
        algorithms={"erm": None},
        train={"num_steps": 8, "evaluate_every": 4, "batch_size": 8, "model.head_warmup_steps": 2, **model, **train},
        space={},
        search={"num_trials": 1, "scheduler": {"name": "none"}},
    )


def of_stage(results: Path, stage: str) -> list[TrialRecord]:
    return [record for record in sweeps.records(results) if record.stage == stage]


def test_averaged_weights_are_a_model_like_any_other(tmp_path: Path) -> None:
    path, results = written(tmp_path), tmp_path / "results"
    code, output = sweeps.finished(path, results)
    assert code == 0, output
    trained = of_stage(results, "final")
    code, output = sweeps.finished(path, results, "--set", "final.ensemble=weights")  # the sweep, continued
    assert code == 0, output
    assert of_stage(results, "final") == trained
    first, record = of_stage(results, "ensemble")
    assert (bool(first.notes.get(AVERAGED)), record.notes.get(AVERAGED), record.state) == (False, True, "finished")
    best = best_checkpoint(record)
    assert best is not None
    about = best["ensemble"]["averaged_weights"]
    assert about["is_kept"] is (about["value"] >= about["members"])
    code, output = sweeps.ran("export", "tiny", "--results", str(results), "--to", str(tmp_path / "models"))
    assert code == 0, output
    model = load_model(tmp_path / "models" / STUDY)
    assert (model.description.members is None) is about["is_kept"]
    config = TrainConfig.from_dict(record.config)
    problem = build_problem(config.data, config.imbalance)
    images = problem.target_test
    found = model.predict(problem.store.inputs(images).numpy()).class_ids
    accuracy = (found == problem.store.labels[images]).mean()
    assert accuracy == pytest.approx(best["target"]["overall"], abs=1e-9)
    values = json.loads((results / "tiny" / "report.json").read_text())
    [table] = values["tables"]
    assert table["metrics"]["overall"]["ensembles"]["erm"]["scan"]["mean"] == pytest.approx(accuracy)
