"""A whole sweep over domains and classes whose names nobody would have thought of: all that is written reads back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient
from rich.console import Console
from typer.testing import CliRunner

from harness.cli import app
from harness.cli.progress import Progress
from harness.config import load_sweep
from harness.config.tracking_uri import store_uri
from harness.plan import make_plan
from harness.records import Journal
from harness.sweep.run import run_sweep
from ndcl.data.store.writer import write_store
from ndcl.serving import Model

DOMAINS = ("Real World", "[/red] out/door", "日本|Grüße", "2")
CLASSES = ("C+", "C#", "a/b [x]")
TARGETS = ["Real World", "[/red] out/door", "日本|Grüße", 2]


def write_vectors(folder: Path) -> None:
    rng = np.random.default_rng(0)
    labels, domains = np.tile(np.arange(3), 80), np.repeat(np.arange(4), 60)
    inputs = (4 * np.eye(6)[labels] + 0.3 * rng.normal(size=(240, 6))).astype(np.float32)
    parts: dict[str, Any] = {"inputs": inputs, "labels": labels, "domain_ids": domains}
    write_store(folder / "a+b", name="a+b", classes=CLASSES, domains=DOMAINS, **parts)


def sweep_values(folder: Path, num_trials: int) -> dict[str, Any]:
    return {
        "name": "n+1.x",
        "data": {"name": "a+b", "folder": str(folder), "targets": TARGETS},
        "imbalance": {"setting": "natural", "validation": 2, "label": "as_it+is"},
        "algorithms": {"erm.1": {"algorithm": "erm"}},
        "overrides": [{"target": 2, "train": {"batch_size": 8}}],
        "train": {"num_steps": 4, "evaluate_every": 2, "batch_size": 6, "model.backbone": "linear"},
        "space": {"optimizer.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}},
        "search": {"num_trials": num_trials, "scheduler": {"name": "none"}},
        "final": {"seeds": 1},
        "tracking": {"figures": False},
    }


def ran(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return str(result.output)


@pytest.mark.soak
def test_a_sweep_over_any_names_reads_back(tmp_path: Path, local_ray_session: None) -> None:
    write_vectors(tmp_path)
    path, results = tmp_path / "sweep.yaml", tmp_path / "results"
    where = ("--results", results)
    for num_trials in (1, 2):  # the second continues the first
        path.write_text(yaml.safe_dump(sweep_values(tmp_path, num_trials), allow_unicode=True), encoding="utf-8")
        plan = make_plan(load_sweep(path), results)
        result = run_sweep(plan, Progress(Console(), quiet=True))
        assert {record.state for record in result.records} == {"finished"}
        assert {record.study.target for record in result.records} == set(DOMAINS)
        assert "done" in ran("status", "n+1.x", *where)
        ran("report", "n+1.x", *where)
    records = Journal(plan.folder).read()
    assert sum(record.stage == "search" for record in records) == 2 * len(DOMAINS)
    report = json.loads((plan.folder / "report.json").read_text())
    assert set(report["tables"][0]["targets"]) == set(DOMAINS)
    ran("sync", "n+1.x", *where)
    check_exports(tmp_path, where)
    check_mlflow(results, {record.name: record.study.target for record in records})


def check_exports(folder: Path, where: tuple[object, ...]) -> None:
    """All models, and one by the name that its domain has."""
    ran("export", "n+1.x", "--to", folder / "models", *where)
    models = sorted((folder / "models").iterdir())
    assert len(models) == len(DOMAINS)
    ran("export", "n+1.x", "--study", "erm.1.a+b.as_it+is.Real World", "--to", folder / "one", *where)
    [one] = (folder / "one").iterdir()
    assert one.name in [model.name for model in models]
    model = Model.load(one)
    assert model.classes == CLASSES


def check_mlflow(results: Path, targets: dict[str, str]) -> None:
    client = MlflowClient(store_uri(results))
    experiment = client.get_experiment_by_name("n+1.x")
    runs = {run.data.tags["ndcl.name"]: run for run in client.search_runs([experiment.experiment_id], max_results=100)}
    for name, target in targets.items():
        assert runs[name].data.tags["target"] == target
        assert runs[name].info.status == "FINISHED"
        assert len([key for key in runs[name].data.metrics if key.startswith("target/per_class/")]) == len(CLASSES)
