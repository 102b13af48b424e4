"""A sweep whose trials are profiled: the trace of each is among its run's artifacts."""

import gzip
import json
from pathlib import Path

from mlflow import MlflowClient
from rich.console import Console

from harness.cli.progress import Progress
from harness.config.tracking_uri import store_uri
from harness.sweep.run import run_sweep
from tests.integration import sweeps


def test_a_trials_trace_is_among_its_artifacts(tmp_path: Path, local_ray_session: None) -> None:
    """The steps are watched before the first of two checkpoints, so that the trace moves from one to the next."""
    train = {"num_steps": 4, "evaluate_every": 2, "batch_size": 4, "profile": {"from_step": 0, "steps": 1}}
    data = {"name": "digits", "targets": ["scan"]}
    search = {"num_trials": 1, "scheduler": {"name": "none"}}
    path = sweeps.written(tmp_path, data=data, algorithms={"erm": None}, train=train, search=search, final={"seeds": 0})
    run_sweep(sweeps.planned(path, tmp_path), Progress(Console(), quiet=True))
    [record] = sweeps.records(tmp_path)
    assert record.state == "finished"
    client = MlflowClient(store_uri(tmp_path))
    [experiment] = [each for each in client.search_experiments() if each.name == "tiny"]
    [run] = client.search_runs([experiment.experiment_id], f"tags.`ndcl.name` = '{record.name}'")
    [artifact] = client.list_artifacts(run.info.run_id, "profile")
    trace = Path(client.download_artifacts(run.info.run_id, artifact.path)).read_bytes()
    events = json.loads(gzip.decompress(trace))["traceEvents"]
    assert sum(event.get("name") == "Optimizer.step#Adam.step" and event.get("ph") == "X" for event in events) == 1
