"""From a foundation model's vectors in a file to a finished sweep, as docs/features.md tells it."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from harness.cli import app
from harness.cli.progress import Progress
from harness.config import load_sweep
from harness.plan import make_plan
from harness.records import best_checkpoint
from harness.state.selected_models import ENSEMBLE, export_model, members_of, selected_models
from harness.sweep.run import run_sweep
from ndcl import load_model
from ndcl.config import TrainConfig
from ndcl.data import Store
from ndcl.data.problem import build_problem
from ndcl.serving import FORMATS
from ndcl.training import Training
from tests.integration import sweeps

FEATURES_SWEEP = sweeps.ROOT / "search_spaces" / "features.yaml"
ALL_ALGORITHMS = FEATURES_SWEEP.with_name("features_all.yaml")
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


def parquet_file(folder: Path) -> Path:
    x, y, d = vectors()
    features = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x.shape[1])
    pq.write_table(pa.table({"features": features, "label": y.tolist(), "domain": d.tolist()}), folder / "f.parquet")
    return folder / "f.parquet"


@pytest.mark.parametrize(
    "sweep", [FEATURES_SWEEP, pytest.param(ALL_ALGORITHMS, marks=pytest.mark.soak)], ids=lambda path: path.stem
)
def test_vectors_in_a_file_become_a_sweep(sweep: Path, tmp_path: Path, local_ray_session: None) -> None:
    run("import", parquet_file(tmp_path), "--name", "mine", "--folder", tmp_path, "--jobs", 1, "--quiet")
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
    plan = make_plan(load_sweep(sweep, settings), tmp_path / "results")
    result = run_sweep(plan, Progress(Console(), quiet=True))
    assert {record.state for record in result.records} == {"finished"}
    assert len(result.records) == 2 * len(plan.studies)
    for record in result.records:
        assert record.evaluations[-1]["validation_accuracy"] == 1.0
        best = best_checkpoint(record)
        assert best is not None
        assert best["target"]["overall"] > 0.9


def test_a_searched_transform_reaches_the_exported_ensemble(tmp_path: Path, local_ray_session: None) -> None:
    """Of trials with and without it, in every format: the accuracy is the report's."""
    x, y, d = vectors()
    np.savez(tmp_path / "f.npz", x=np.abs(x) + 0.5 * np.abs(np.random.default_rng(1).normal(size=x.shape)), y=y, d=d)
    run("import", tmp_path / "f.npz", "--name", "mine", "--folder", tmp_path, "--jobs", 1, "--quiet")
    space = "{data.transform: {type: choice, choices: [none, sqrt]}}"
    tiny = ("data.targets=[ink]", "search={num_trials: 2, sampler: grid}", "train.num_steps=40", f"space={space}")
    final = "final={seeds: 2, top_k: 2, ensemble: {top_k: 2}}"
    settings = ["data.name=mine", "name=mine", f"data.folder={tmp_path}", *tiny, final, "tracking.figures=false"]
    settings += ["algorithms={erm: null}"]
    plan = make_plan(load_sweep(FEATURES_SWEEP, settings), tmp_path / "results")
    result = run_sweep(plan, Progress(Console(), quiet=True))
    assert {record.state for record in result.records} == {"finished"}
    [record] = selected_models(result.records, 2, run=ENSEMBLE)
    transforms = {each.config["data"]["transform"] for each in members_of(record, result.records)}
    assert transforms == {"none", "sqrt"}
    store, config = Store(tmp_path / "mine"), TrainConfig.from_dict(record.config)
    target = build_problem(config.data, config.imbalance).target_test
    for form in FORMATS:
        export_model(plan.folder, record, result.records, tmp_path / form, form)
        found = load_model(tmp_path / form).predict(store.inputs(target).numpy())
        best = best_checkpoint(record)
        assert best is not None
        assert (found.class_ids == store.labels[target]).mean() == pytest.approx(best["target"]["overall"], abs=1e-6)


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
