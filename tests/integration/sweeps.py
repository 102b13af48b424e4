"""Tiny sweeps for the integration tests: how to start one as a user does, and what must hold when it has ended."""

import contextlib
import dataclasses
import functools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import yaml
from mlflow import MlflowClient
from optuna.trial import TrialState

from harness.config import load_sweep
from harness.config.tracking_uri import STORE_FILE, store_uri
from harness.plan import Plan, make_plan
from harness.records import ENDED, Journal, TrialRecord
from harness.records.record import CONFUSION
from harness.tracking.client import open_client
from harness.tracking.runs import STATUS
from ndcl.evaluation.evaluation import TargetLook

ROOT = Path(__file__).parents[2]
OPTUNA_STATES = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
TINY: dict[str, Any] = {
    "name": "tiny",
    "data": {"name": "digits", "targets": ["scan", "sign"]},
    "imbalance": {"setting": "long_tail", "ratio": 20, "validation": 2},
    "algorithms": {
        "erm": None,
        "ndcl": {"space": {"algorithm.alpha": {"type": "float", "low": 0.01, "high": 10, "log": True, "default": 1}}},
    },
    "train": {"num_steps": 4, "evaluate_every": 2, "batch_size": 4},
    "space": {"optimizer.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True, "default": 1e-3}},
    "search": {"num_trials": 3, "scheduler": {"name": "asha", "min_resource": 1, "reduction_factor": 2}},
    "final": {"seeds": 2},
    "tracking": {"figures": False},
}


def written(folder: Path, **changes: Any) -> Path:
    """The tiny sweep, changed, as a YAML file."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY | changes))
    return path


@functools.cache
def empty_store() -> bytes:
    """MLflow's store without a run: making one takes seconds, copying it none."""
    with tempfile.TemporaryDirectory() as folder:
        open_client(Path(folder))
        return (Path(folder) / STORE_FILE).read_bytes()


def with_store(results: Path) -> None:
    """Lay an empty store into the results folder, if it has none."""
    results.mkdir(parents=True, exist_ok=True)
    if not (results / STORE_FILE).exists():
        (results / STORE_FILE).write_bytes(empty_store())


def past(record: TrialRecord) -> list[dict[str, Any]]:
    """The record's evaluations as they stay.

    Not so its one confusion matrix, which moves on to whichever is the best, and what the best learns of the target at
    the training's end.
    """
    changing = {CONFUSION, *(field.name for field in dataclasses.fields(TargetLook) if field.name != "step")}
    return [{key: value for key, value in e.items() if key not in changing} for e in record.evaluations]


def planned(path: Path, results: Path) -> Plan:
    with_store(results)
    return make_plan(load_sweep(path), results)


def started(path: Path, results: Path, *options: str) -> "subprocess.Popen[str]":
    """`ndcl sweep` in its own process."""
    with_store(results)
    return _started("sweep", str(path), "--results", str(results), *options)


def ran(*arguments: str, seconds: float = 120) -> tuple[int, str]:
    """Run another verb of `ndcl`: exit code and all that it printed."""
    process = _started(*arguments)
    with ended_with_test(process):
        output, _ = process.communicate(timeout=seconds)
    return process.returncode, output


def _started(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "harness.cli", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )


def finished(path: Path, results: Path, *options: str, seconds: float = 400) -> tuple[int, str]:
    """Run `ndcl sweep` to its end: exit code and all that it printed."""
    process = started(path, results, *options)
    with ended_with_test(process):
        output, _ = process.communicate(timeout=seconds)
    return process.returncode, output


@contextlib.contextmanager
def ended_with_test(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Leave no process behind, whatever happens."""
    try:
        yield
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[str]", seconds: float = 480) -> None:
    """Wait until the condition holds; the process must not end before."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"the sweep ended early: {process.communicate()[0]}"
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def records(results: Path) -> list[TrialRecord]:
    return Journal(results / "tiny").read()


def in_state(results: Path, state: str) -> list[TrialRecord]:
    return [record for record in records(results) if record.state == state]


def check_complete(plan: Plan) -> None:
    """Every planned trial stands in the journal, in Optuna and in MLflow exactly once, and they agree."""
    found = records(plan.results)
    check_records(plan, found)
    check_optuna(plan, found)
    check_mlflow(plan, found)
    check_checkpoints(plan, found)


def check_records(plan: Plan, found: list[TrialRecord]) -> None:
    expected = [
        f"{study.key.name}.{stage}-{number:03d}"
        for study in plan.studies
        for stage, count in (
            ("search", study.num_trials),
            ("review", study.num_reviews),
            ("final", len(study.final_seeds)),
            ("ensemble", int(study.has_ensemble and len(study.final_seeds) > 1)),
        )
        for number in range(count)
    ]
    assert sorted(record.name for record in found) == sorted(expected)
    assert all(record.state in ENDED for record in found)


def check_optuna(plan: Plan, found: list[TrialRecord]) -> None:
    for study in plan.studies:
        storage = f"sqlite:///{plan.folder / 'optuna.db'}"
        trials = optuna.load_study(study_name=f"{plan.name}/{study.key.name}", storage=storage).trials
        search = {r.name: r for r in found if r.study == study.key and r.stage == "search"}
        assert Counter(trial.user_attrs["name"] for trial in trials) == Counter(list(search))
        for trial in trials:
            record = search[trial.user_attrs["name"]]
            assert trial.state == OPTUNA_STATES[record.state], record.name
            assert trial.params == record.values
            reported = record.evaluations if len(study.objectives) == 1 else ()  # Optuna takes no others
            assert list(trial.intermediate_values) == [e["step"] for e in reported], (trial, record)
        drawn = [tuple(sorted(trial.params.items())) for trial in trials]
        if study.sampler not in ("gp", "nsga2"):  # at the best point they know, these may propose it once more
            assert len(set(drawn)) == len(drawn), "values drawn twice"


def check_mlflow(plan: Plan, found: list[TrialRecord]) -> None:
    client = MlflowClient(store_uri(plan.results))
    experiment = client.get_experiment_by_name(plan.name)
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    by_name = {run.data.tags["ndcl.name"]: run for run in runs}
    assert len(by_name) == len(runs)
    assert set(by_name) == {record.name for record in found} | {study.key.name for study in plan.studies} | {plan.name}
    for study in plan.studies:
        assert by_name[study.key.name].info.status == "FINISHED"
    for record in found:
        run = by_name[record.name]
        assert run.info.status == STATUS[record.state], record.name
        assert run.data.tags["mlflow.parentRunId"] == by_name[record.study.name].info.run_id
        history = client.get_metric_history(run.info.run_id, "validation_accuracy")
        steps = sorted(point.step for point in history)  # MLflow sorts by time, and weights may come from another trial
        assert steps == [e["step"] for e in record.evaluations], record.name
        files = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
        assert files == {"config.yaml", "environment.json", "results"}, record.name
        assert [data.dataset.name for data in run.inputs.dataset_inputs] == [record.study.dataset]


def check_checkpoints(plan: Plan, found: list[TrialRecord]) -> None:
    """A finished trial keeps one checkpoint, others none, nor does an ensemble, whose members have theirs."""
    kept = {str(path) for path in (plan.folder / "ray").glob("run-*/*/checkpoint_*/")}
    assert kept == {record.checkpoint for record in found if record.state == "finished" and record.is_training}
