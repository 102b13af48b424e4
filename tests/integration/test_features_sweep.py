"""From a foundation model's vectors in a file to a finished sweep, as docs/features.md tells it."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from harness.cli import app
from harness.config import load_sweep
from harness.plan import make_plan
from harness.progress import Progress
from harness.sweep import run_sweep
from ndcl.data.store import Store
from ndcl.training import Training
from tests.integration import sweeps

FEATURES_SWEEP = sweeps.ROOT / "search_spaces" / "features.yaml"
PACS_SAMPLE = Path(os.environ.get("NDCL_PACS_SAMPLE") or sweeps.ROOT.parent / "shared" / "datasets" / "pacs_sample")


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["data", *(str(argument) for argument in arguments)])
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def vectors() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes that lie apart in all three domains: [108, 6], names of classes and of domains."""
    labels, domains = np.tile(np.arange(3), 36), np.repeat(np.arange(3), 36)
    noise = np.random.default_rng(0).normal(size=(108, 6))
    inputs = 4 * np.eye(6)[labels] + domains[:, None] + 0.3 * noise
    return inputs.astype(np.float16), np.array(["cat", "dog", "owl"])[labels], np.array(["art", "ink", "web"])[domains]


def npz_file(folder: Path) -> Path:
    x, y, d = vectors()
    np.savez(folder / "features.npz", x=x, y=y, d=d)
    return folder / "features.npz"


def parquet_file(folder: Path) -> Path:
    x, y, d = vectors()
    features = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x.shape[1])
    pq.write_table(pa.table({"features": features, "label": y.tolist(), "domain": d.tolist()}), folder / "f.parquet")
    return folder / "f.parquet"


@pytest.mark.slow
@pytest.mark.parametrize("made", [npz_file, parquet_file])
def test_vectors_in_a_file_become_a_sweep(tmp_path: Path, made: Any, local_ray_session: None) -> None:
    run("import", made(tmp_path), "--name", "mine", "--folder", tmp_path, "--jobs", 1, "--quiet")
    store = Store(tmp_path / "mine")
    assert (store.kind, store.dtype, store.input_shape, len(store)) == ("vectors", "float16", (6,), 108)
    assert "7" in run("imbalance", "mine", "--setting", "long_tail", "--ratio", 7, "--folder", tmp_path)
    tiny = (
        "data.targets=[ink]",
        "search.num_trials=1",
        "search.scheduler.name=none",
        "final.seeds=1",
        "tracking.figures=false",
    )
    settings = ["data.name=mine", "name=mine", f"data.folder={tmp_path}", *tiny]
    plan = make_plan(load_sweep(FEATURES_SWEEP, settings), tmp_path / "results")
    result = run_sweep(plan, Progress(Console(), quiet=True))
    assert {record.state for record in result.records} == {"finished"}
    assert len(result.records) == 4
    for record in result.records:
        assert record.evaluations[-1]["validation_accuracy"] == 1.0
        assert record.evaluations[-1]["target"]["overall"] > 0.9


@pytest.mark.skipif(not PACS_SAMPLE.is_dir(), reason="needs original PACS files; NDCL_PACS_SAMPLE names their folder")
def test_photographs_become_features_on_which_a_head_trains(tmp_path: Path) -> None:
    options = ("--folder", tmp_path, "--quiet")
    run("import", PACS_SAMPLE, "--name", "pacs", "--size", 64, "--jobs", 1, *options)
    run("embed", "pacs", "--backbone", "resnet18", "--weights", "none", "--name", "pacs_resnet18", *options)
    settings = ["data.name=pacs_resnet18", f"data.folder={tmp_path}", "train.num_steps=60", "train.evaluate_every=20"]
    plan = make_plan(load_sweep(FEATURES_SWEEP, settings), tmp_path / "results")
    assert {study.key.target for study in plan.studies} == {"art_painting", "cartoon", "photo", "sketch"}
    for study in plan.studies[:2]:
        first, *_, last = Training(study.train_config({"imbalance.validation": 2})).evaluations()
        assert last.losses["total"] < 0.9 * first.losses["total"]
        assert last.validation_accuracy > 1 / 7
