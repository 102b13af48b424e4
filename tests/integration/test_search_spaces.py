"""The shipped search spaces run to their end, with few steps, on the data set or a small stand-in for it.

Those of features are run by test_features_sweep.py.
"""

import json
from pathlib import Path

import pytest
from rich.console import Console

from harness.cli.progress import Progress
from harness.config import load_sweep
from harness.plan import make_plan
from harness.sweep.run import run_sweep
from ndcl.data.catalogue import entry_of
from tests.integration import sweeps
from tests.integration.test_features_sweep import ALL_ALGORITHMS, FEATURES_SWEEP
from tests.made.stand_ins import import_stand_in

SEARCH_SPACES = sorted(set((sweeps.ROOT / "search_spaces").glob("*.yaml")) - {FEATURES_SWEEP, ALL_ALGORITHMS})
QUICK = ("digits_smoke", "photos")
"""On own data and on a stand-in; the others differ in the data set alone."""
FEW_STEPS = (
    "train.num_steps=6",
    "train.evaluate_every=2",
    "search.num_trials=1",
    "final.seeds=1",
    "resources.max_concurrent=1",
    "resources.cpus_per_trial=1",
    "resources.gpus_per_trial=0",
    "tracking.figures=false",
)
SMALL_NETWORK = ("train.model.backbone=small_cnn", "train.model.weights=none")


def _settings(path: Path, folder: Path) -> list[str]:
    """What makes the search space small, once its data set or a stand-in for it is in the folder."""
    if path.stem.startswith("digits"):
        return ["data.targets=[sign]"] if path.stem == "digits" else []
    own = ["data.name=PACS"] if path.stem == "photos" else []  # a name of the user's
    entry = entry_of(load_sweep(path, own).data[0].name)
    settings = [*own, f"data.targets=[{entry.domains[0]}]", f"data.folder={folder}", *SMALL_NETWORK]
    import_stand_in(entry, load_sweep(path, settings), folder)
    return settings


@pytest.fixture(scope="module")
def shared_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One MLflow store for all, since making one takes seconds."""
    results = tmp_path_factory.mktemp("results")
    sweeps.with_store(results)
    return results


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=() if path.stem in QUICK else pytest.mark.soak) for path in SEARCH_SPACES],
)
def test_a_shipped_search_space_runs(path: Path, tmp_path: Path, shared_results: Path, local_ray_session: None) -> None:
    settings = [*_settings(path, tmp_path), *FEW_STEPS]
    whole = make_plan(load_sweep(path, settings), shared_results)  # builds the problem of every setting
    (first, *_) = whole.resolved["imbalance"]
    plan = make_plan(load_sweep(path, [*settings, f"imbalance={json.dumps(first)}"]), shared_results)
    result = run_sweep(plan, Progress(Console(), quiet=True))
    assert {study.key.algorithm for study in result.studies} == {study.key.algorithm for study in whole.studies}
    assert {study.stage for study in result.studies} == {"done"}
    assert len(result.records) == 2 * len(plan.studies)
    assert {record.state for record in result.records} == {"finished"}
