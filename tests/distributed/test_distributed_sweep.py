"""Sweeps whose trials have several workers under Ray Train, on a Ray without the dashboard that could clean up."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
import yaml
from rich.console import Console
from typer.testing import CliRunner

from harness.cli import app
from harness.cli.progress import Progress
from harness.cluster.notice import MARK, leave_mark
from harness.records import TrialRecord
from harness.records.record import CONFUSION, PAUSED
from harness.storage.checkpoints import TRAINING
from harness.sweep.run import Interrupted, run_sweep
from harness.trials.messages import to_json
from harness.trials.standalone_workers import run_on_workers
from ndcl.checkpoints import content
from ndcl.config import TrainConfig
from ndcl.errors import UserError
from ndcl.training import train
from tests.integration import sweeps
from tests.integration.train_workers import train_workers
from tests.made.made_photos import make_photos
from tests.made.made_records import base
from tests.made.made_vectors import TARGET, write_vectors
from tests.servers.listening import check_listeners, listeners_meanwhile

pytestmark = [pytest.mark.timeout(1500)]  # a dozen processes import Ray and torch, several times
NO_SEARCH = {"num_trials": 1, "scheduler": {"name": "none"}}
LONG = {"model.backbone": "linear", "num_steps": 60, "evaluate_every": 3, "batch_size": 6}
LAST = "step-00000060"


def written(folder: Path, **changes: Any) -> Path:
    data = folder / "data" if (folder / "data").is_dir() else write_vectors(folder / "data")
    values = {
        "data": {"name": "made", "targets": [TARGET], "folder": str(data)},
        "imbalance": {"setting": "long_tail", "ratio": 4, "validation": 10},
        "space": {"optimizer.learning_rate": {"type": "float", "low": 1e-3, "high": 1, "log": True, "default": 0.1}},
        "train": {"model.backbone": "linear", "num_steps": 6, "evaluate_every": 2, "batch_size": 7},
        "search": {"num_trials": 2, "scheduler": {"name": "asha", "min_resource": 1, "reduction_factor": 2}},
        "final": {"seeds": 0},
    }
    return sweeps.written(folder, **(values | changes))


def run(folder: Path, results: Path, **changes: Any) -> dict[str, TrialRecord]:
    plan = sweeps.planned(written(folder, **changes), results)
    return {record.name: record for record in run_sweep(plan, Progress(Console(), quiet=True)).records}


def record_of(results: Path, algorithm: str) -> TrialRecord:
    [record] = [record for record in sweeps.records(results) if record.study.algorithm == algorithm]
    return record


def network(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = content.read(folder)[0]["network"]
    return state


def network_of(record: TrialRecord) -> dict[str, torch.Tensor]:
    assert record.checkpoint is not None
    return network(Path(record.checkpoint) / TRAINING)


def check_equal_but_for_rounding(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    for name, weights in expected.items():
        np.testing.assert_allclose(found[name], weights, rtol=1e-4, atol=1e-6)


def check_nothing_left() -> None:
    """All placement groups are gone, with what they held."""
    deadline = time.monotonic() + 30
    while ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"]:
        assert time.monotonic() < deadline, ray.util.placement_group_table()
        time.sleep(0.2)
    assert {group["state"] for group in ray.util.placement_group_table().values()} <= {"REMOVED"}
    assert not train_workers(os.getpid())


@pytest.mark.soak
def test_two_workers_find_what_one_finds_and_leave_nothing_behind(tmp_path: Path, local_ray_session: None) -> None:
    """In the search of one sweep, and in the final runs of the other, which are then combined by two."""
    algorithms = {"algorithms": {"ndcl": None}}
    two, one = {"workers_per_trial": 2}, {"max_concurrent": 1}
    with listeners_meanwhile(os.getpid()) as listeners:
        several = run(tmp_path, tmp_path / "two", resources=two, final={"seeds": 2, "resources": one}, **algorithms)
    check_listeners(listeners)
    check_nothing_left()
    sweeps.check_complete(sweeps.planned(tmp_path / "tiny.yaml", tmp_path / "two"))
    single = run(tmp_path, tmp_path / "one", resources=one, final={"seeds": 2, "resources": two}, **algorithms)
    check_nothing_left()
    sweeps.check_complete(sweeps.planned(tmp_path / "tiny.yaml", tmp_path / "one"))
    assert {record.state for record in several.values()} == {"finished", "pruned"}
    stages = [record.stage for record in several.values()]
    assert (stages.count("final"), stages.count("ensemble")) == (2, 1)
    assert several.keys() == single.keys()
    for name, record in several.items():
        assert (record.state, record.attempts) == (single[name].state, 1)
        assert record.values == single[name].values
        for mine, other in zip(record.evaluations, single[name].evaluations, strict=True):
            assert mine["losses"] == pytest.approx(other["losses"], rel=1e-5)
            assert (mine["validation"], mine["target"]) == (other["validation"], other["target"])


def interrupted(folder: Path, **changes: Any) -> None:
    """A sweep of two trainings: a worker of the first is killed in its midst, the sweep is stopped in the second's."""
    process = sweeps.started(written(folder, **changes), folder, "--quiet")
    with sweeps.ended_with_test(process):
        sweeps.wait_until(lambda: has_checkpoint(folder, "killed"), process)
        os.kill(train_workers(process.pid)[-1], signal.SIGKILL)
        sweeps.wait_until(lambda: has_checkpoint(folder, "stopped"), process)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=180)
    assert process.returncode == 130, output


def has_checkpoint(results: Path, algorithm: str) -> bool:
    return any(record.checkpoint for record in sweeps.records(results) if record.study.algorithm == algorithm)


def trained_by_command(folder: Path, config: dict[str, Any], *options: str) -> Path:
    """What `ndcl train` leaves of a training."""
    path = folder / "one.yaml"
    path.write_text(yaml.safe_dump(config))
    result = CliRunner().invoke(app, ["train", str(path), "--results", str(folder), *options])
    assert result.exit_code == 0, result.output
    assert f"step {config['num_steps']}/{config['num_steps']}: loss" in result.stderr
    return folder / "train" / "one"


@pytest.mark.soak
def test_trials_of_two_workers_wait_and_are_promoted_as_those_of_one(tmp_path: Path, local_ray_session: None) -> None:
    scheduler = {"name": "asha", "mode": "promote", "reduction_factor": 2}
    changes = {"algorithms": {"erm": None}, "search": {"num_trials": 2, "sampler": "random", "scheduler": scheduler}}
    found = {
        size: run(tmp_path, tmp_path / str(size), resources={"workers_per_trial": size, "max_concurrent": 1}, **changes)
        for size in (1, 2)
    }
    for name, alone in found[1].items():
        both = found[2][name]
        assert (both.state, both.notes, both.step) == (alone.state, alone.notes, alone.step)
        assert alone.notes[PAUSED] == ([2, 4] if alone.state == "finished" else [2])
    assert sorted(record.state for record in found[2].values()) == ["finished", "pruned"]


@pytest.mark.soak
def test_a_killed_worker_changes_nothing_and_any_number_goes_on(tmp_path: Path, local_ray_session: None) -> None:
    """Undisturbed is what `ndcl train --workers 2` finds, which is what one process finds."""
    algorithms = {name: {"algorithm": "erm"} for name in ("killed", "stopped")}
    changes = {"algorithms": algorithms, "search": NO_SEARCH, "train": LONG}
    steps = list(range(3, 61, 3))
    interrupted(tmp_path, resources={"workers_per_trial": 2, "max_concurrent": 1}, **changes)
    killed, stopped = record_of(tmp_path, "killed"), record_of(tmp_path, "stopped")
    assert (killed.state, killed.attempts) == ("finished", 2)
    assert stopped.state == "interrupted"
    assert 0 < stopped.step < 60

    undisturbed = trained_by_command(tmp_path, killed.config, "--workers", "2")
    found = json.loads((undisturbed / "evaluations.json").read_text())
    assert [e["step"] for e in found] == [e["step"] for e in killed.evaluations] == steps
    for mine, other in zip(found, killed.evaluations, strict=True):
        own = {key: other[key] for key in ("seconds", "system")} | {CONFUSION: other.get(CONFUSION)}
        assert {**json.loads(to_json(mine)), **own} == {CONFUSION: None, **other}
    weights = network(undisturbed / LAST)
    for name, tensor in network_of(killed).items():
        assert torch.equal(tensor, weights[name]), name

    list(train(TrainConfig.from_dict(killed.config), tmp_path / "single"))
    check_equal_but_for_rounding(weights, network(tmp_path / "single" / LAST))
    after = run(tmp_path, tmp_path, resources={}, **changes, final={"seeds": 1})
    resumed = after[stopped.name]
    assert (resumed.state, resumed.attempts) == ("finished", 2)
    check_equal_but_for_rounding(network_of(resumed), weights)
    assert sorted(record.stage for record in after.values()) == ["final", "final", "search", "search"]


class Stopping(Progress):
    """Stops the sweep, as Ctrl-C does, as soon as a trial has left a checkpoint."""

    def __init__(self, results: Path) -> None:
        super().__init__(Console(), quiet=True)
        self._results = results

    def is_due(self) -> bool:
        if any(record.checkpoint for record in sweeps.records(self._results)):
            raise Interrupted
        return False


def test_a_stopped_sweep_leaves_nothing_in_a_ray_that_goes_on(tmp_path: Path, local_ray_session: None) -> None:
    path = written(tmp_path, algorithms={"erm": None}, search=NO_SEARCH, train=LONG, resources={"workers_per_trial": 2})
    with pytest.raises(Interrupted):
        run_sweep(sweeps.planned(path, tmp_path), Stopping(tmp_path))
    check_nothing_left()
    assert record_of(tmp_path, "erm").state == "interrupted"


def test_an_exploding_loss_fails_its_trial_at_once(tmp_path: Path, local_ray_session: None) -> None:
    rate = {"optimizer.learning_rate": {"type": "float", "low": 1e30, "high": 1e38, "default": 1e38}}
    resources = {"workers_per_trial": 2}
    with pytest.raises(UserError, match="--workers: 99 need a CPU core each, but there is room for 2; ask for fewer"):
        next(run_on_workers(TrainConfig.from_dict(base(device="cpu")), tmp_path / "one", 99))
    with pytest.raises(UserError, match="needs 99 workers of 1 CPU and 0 GPU, but there is room for 2 on 1"):
        run(tmp_path, tmp_path, algorithms={"erm": None}, search=NO_SEARCH, resources={"workers_per_trial": 99})
    found = run(tmp_path, tmp_path / "nan", algorithms={"erm": None}, search=NO_SEARCH, space=rate, resources=resources)
    [record] = found.values()
    assert (record.state, record.attempts) == ("failed", 1)
    assert (record.reason or "").startswith("NonFiniteLossError: ")


def write_broken_photos(folder: Path) -> None:
    """A data set `broken`: of two source domains the second, which the second of two workers reads, is damaged."""
    made = make_photos(folder / "broken", "encoded")
    path = made.folder / "inputs-00000.arrow"
    content = path.read_bytes()
    for index in np.flatnonzero(made.domain_ids == made.domains.index("sketch")):
        content = content.replace(made.encoded(index), bytes(len(made.encoded(index))))
    path.write_bytes(content)


@pytest.mark.soak
def test_an_image_that_one_worker_cannot_read_fails_the_trial_and_the_sweep_goes_on(
    tmp_path: Path, local_ray_session: None
) -> None:
    """The other worker would wait for the first one's logits until a timeout of half an hour."""
    folder = tmp_path / "data"
    write_broken_photos(folder)
    make_photos(folder / "whole", "encoded")
    found = run(
        tmp_path,
        tmp_path,
        data=[{"name": name, "targets": ["photo"], "folder": str(folder)} for name in ("broken", "whole")],
        imbalance={"setting": "long_tail", "counts": [4, 3, 1], "validation": 2},
        train={"model": {"backbone": "mlp", "mlp_width": 8}, "num_steps": 4, "evaluate_every": 2, "batch_size": 5},
        algorithms={"erm": None},
        search=NO_SEARCH,
        resources={"workers_per_trial": 2},
    )
    broken, whole = sorted(found.values(), key=lambda record: record.study.dataset)
    assert (broken.state, whole.state) == ("failed", "finished")
    assert re.match(r"UserError: data set broken: image \d+\.jpg cannot be decoded", broken.reason or "")
    assert (broken.attempts, broken.evaluations) == (1, ())
    path = tmp_path / "one.yaml"
    path.write_text(yaml.safe_dump(broken.config))
    result = CliRunner().invoke(app, ["train", str(path), "--results", str(tmp_path), "--workers", "2"])
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("ndcl: error: data set broken: image ")
    check_nothing_left()


@pytest.mark.soak
@pytest.mark.parametrize("criterion", ["validation_accuracy", "leave_one_domain_out_accuracy"])
def test_at_its_machines_notice_a_sweep_of_several_workers_ends_and_continues_bit_identically(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, criterion: str
) -> None:
    monkeypatch.setenv(MARK, str(tmp_path / "notice"))
    changes = {
        "algorithms": {"erm": None},
        "search": {**NO_SEARCH, "objective": criterion},
        "train": LONG | {"num_steps": 2000, "evaluate_every": 1000},
        "resources": {"workers_per_trial": 2},
    }
    expected = record_of_run(tmp_path / "undisturbed", changes)
    results = tmp_path / "noticed"
    results.mkdir()
    # a process of its own: its Ray has the mark's place from the start
    process = sweeps.started(written(results, **changes), results, "--quiet")
    with sweeps.ended_with_test(process):
        sweeps.wait_until(lambda: any(record.checkpoint for record in sweeps.records(results)), process)
        leave_mark("a test")
        output, _ = process.communicate(timeout=180)
    assert process.returncode == 130, output
    [record] = sweeps.records(results)
    assert record.state == "interrupted"
    assert record.checkpoint is not None
    facts = [json.loads(path.read_text()) for path in Path(record.checkpoint).rglob("checkpoint.json")]
    assert {fact["step"] for fact in facts if "step" in fact} - {1000, 2000}, "it stopped at an evaluation"
    found = record_of_run(results, changes)
    assert [without_times(e) for e in found.evaluations] == [without_times(e) for e in expected.evaluations]
    assert networks_of(found).keys() == networks_of(expected).keys()
    for fold, weights in networks_of(expected).items():
        assert all(torch.equal(networks_of(found)[fold][name], value) for name, value in weights.items())
    assert not train_workers(os.getpid())


def record_of_run(results: Path, changes: dict[str, Any]) -> TrialRecord:
    results.mkdir(exist_ok=True)
    [record] = run(results, results, **changes).values()
    assert record.state == "finished", record.reason
    return record


def without_times(evaluation: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in evaluation.items() if key not in ("seconds", "system")}


def networks_of(record: TrialRecord) -> dict[str, dict[str, torch.Tensor]]:
    """By fold, or of the training itself."""
    assert record.checkpoint is not None
    folders = {path.parent for path in Path(record.checkpoint).rglob("state.pt")}
    return {folder.name: network(folder) for folder in folders}


@pytest.mark.soak
def test_a_trial_over_three_nodes_outlives_one_of_them(tmp_path: Path) -> None:
    """The workers that are left continue, elastically, to what one process finds."""
    resources = {"workers_per_trial": {"min": 2, "max": 3}, "placement": "SPREAD"}
    path = written(tmp_path, algorithms={"erm": None}, search=NO_SEARCH, train=LONG, resources=resources)
    program = [sys.executable, "-m", "tests.integration.cluster_of_workers", str(path), str(tmp_path), "killed"]
    result = subprocess.run(program, cwd=sweeps.ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 workers on 3 nodes, then 2 workers on 2 nodes" in result.stdout
    record = record_of(tmp_path, "erm")
    assert (record.state, record.attempts) == ("finished", 2)
    assert [e["step"] for e in record.evaluations] == list(range(3, 61, 3))
    list(train(TrainConfig.from_dict(record.config), tmp_path / "single"))
    check_equal_but_for_rounding(network_of(record), network(tmp_path / "single" / LAST))


@pytest.mark.soak
def test_a_trial_is_given_back_at_the_notice_of_one_of_its_nodes_and_counts_no_failure(tmp_path: Path) -> None:
    resources = {"workers_per_trial": {"min": 2, "max": 3}, "placement": "SPREAD"}
    train_long = LONG | {"num_steps": 600, "evaluate_every": 100}
    path = written(tmp_path, algorithms={"erm": None}, search=NO_SEARCH, train=train_long, resources=resources)
    program = [sys.executable, "-m", "tests.integration.cluster_of_workers", str(path), str(tmp_path), "noticed"]
    result = subprocess.run(program, cwd=sweeps.ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 workers on 3 nodes, then 2 workers on 2 nodes" in result.stdout
    record = record_of(tmp_path, "erm")
    assert (record.state, record.attempts) == ("finished", 2)
    assert [e["step"] for e in record.evaluations] == list(range(100, 601, 100))
    [error] = tmp_path.rglob("error.txt")  # Tune's, of the trial that was given back
    assert "Failure # 0 " in error.read_text()
    assert "all have stopped after the same step" in error.read_text()


@pytest.mark.soak
def test_a_node_that_comes_late_joins_an_elastic_trial(tmp_path: Path) -> None:
    """Ray Train looks for room once a minute, and begins again from the newest checkpoint with a worker more."""
    resources = {"workers_per_trial": {"min": 2, "max": 3}, "placement": "SPREAD"}
    steps = LONG | {"num_steps": 900}
    path = written(tmp_path, algorithms={"erm": None}, search=NO_SEARCH, train=steps, resources=resources)
    program = [sys.executable, "-m", "tests.integration.cluster_of_workers", str(path), str(tmp_path), "late"]
    result = subprocess.run(program, cwd=sweeps.ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 workers on 2 nodes, then 3 workers on 3 nodes" in result.stdout
    record = record_of(tmp_path, "erm")
    assert record.state == "finished"
    assert [e["step"] for e in record.evaluations] == list(range(3, 901, 3))
    list(train(TrainConfig.from_dict(record.config), tmp_path / "single"))
    check_equal_but_for_rounding(network_of(record), network(tmp_path / "single" / "step-00000900"))
