"""The command line: help, mistakes in one line, and the verbs that need no Ray."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner

from harness.cli import app
from harness.plan import measure
from harness.records import Journal
from harness.search.study_search import open_storage
from harness.sweep import run as sweep_run
from harness.sweep.prepare import prepare
from harness.tracking.items import StudySelection
from harness.trials.standalone import load_training
from ndcl.config import TrainConfig
from ndcl.errors import UserError
from tests.integration import sweeps
from tests.made.made_records import base, record
from tests.servers.listening import listeners
from tests.servers.ports import free_port

VERBS = ("plan", "sweep", "status", "train", "report", "ui", "sync")


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def error_of(*arguments: object) -> str:
    """The one line that a mistake gets."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("ndcl: error: ")
    return str(result.stderr)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    result = run(verb, "--help")
    assert result.exit_code == 0
    assert f"Example: ndcl {verb}" in result.output


def test_help_names_the_verbs_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from harness.cli import app; from typer.testing import CliRunner\n"
        "print(CliRunner().invoke(app, ['--help']).output)\n"
        "print('heavy:', [m for m in ('ray', 'torch', 'mlflow', 'optuna', 'numpy') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(f"\n  {verb} " in output for verb in VERBS)
    assert "heavy: []" in output


def test_plan_shows_studies_sizes_and_what_is_done(tmp_path: Path) -> None:
    path = sweeps.written(tmp_path)
    first = sweeps.planned(path, tmp_path).studies[0].key
    Journal(tmp_path / "tiny").write(record(0, of=first))
    Journal(tmp_path / "tiny").write(record(1, "interrupted", of=first))
    result = run("plan", path, "--results", tmp_path, "--set", "search.num_trials=4")
    assert result.exit_code == 0, result.output
    assert "ndcl.digits.long_tail-20.sign" in result.output
    assert "4 studies, 24 trainings of which 1 are done, at most 96 optimiser steps" in " ".join(result.output.split())


def test_a_plan_says_how_to_learn_its_time_and_what_does_not_fit(tmp_path: Path) -> None:
    path = sweeps.written(tmp_path)
    output = run("plan", path, "--results", tmp_path, "--set", "resources.cpus_per_trial=1000").output
    assert "left: 64 to 80 steps" in output  # 4 studies x (4 + 2 x 2 + 2 x 4) and 4 x 5 x 4
    start = "warning: on this machine ndcl sweep would refuse it, on a cluster (--address) it may run: "
    assert f"{start}resources: a trial needs 1000 CPU, but there are" in output
    assert "time: not known before a trial was evaluated; `ndcl plan --measure` times" in output
    assert "warning" not in run("plan", path, "--results", tmp_path).output


def test_a_plan_prices_the_rest_by_what_trials_took(tmp_path: Path) -> None:
    path = sweeps.written(tmp_path, algorithms={"erm": None}, resources={"max_concurrent": 1})
    first = sweeps.planned(path, tmp_path).studies[0].key
    Journal(tmp_path / "tiny").write(record(0, of=first))
    prices = ("--price-per-cpu-hour", 36, "--price-per-gpu-hour", 99)
    lines = run("plan", path, "--results", tmp_path, *prices).output.splitlines()
    # 4 steps took 10 s; left are 2 x 2 and 4 + 2 x 2 steps of the searches, at the least, and 4 x 4 of the final runs
    assert "left: 28 to 36 steps, depending on how many trials are stopped early" in lines
    assert "time left: 70 s to 2 min with 1 at once on this machine" in lines
    assert "compute left: 0.019 to 0.025 CPU-hours, 0 GPU-hours" in lines
    assert "price left: 0.70 to 0.90 USD" in lines


def test_a_plan_measures_each_kind_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "import_seconds", lambda: 5.0)
    path = sweeps.written(tmp_path, train={**sweeps.TINY["train"], "device": "cpu"})
    output = run("plan", path, "--results", tmp_path, "--measure").output
    for algorithm in ("erm", "ndcl"):
        assert re.search(rf"{algorithm} with small_cnn on digits: [\d.e-]+ s a step, [\d.e-]+ s an evaluation", output)
    assert len(re.findall(r"\(measured on this machine's CPU, (one alone|\d+ at once)\)", output)) == 2
    assert "beside the trainings: 15 s to start and end, 0.55 s a training and 3 s a study of one core" in output
    assert re.search(r"time left: .* at once on this machine", output)
    assert "measured on the CPU" not in output
    on_gpu = ("--set", "resources.gpus_per_trial=1", "--set", "train.device=auto")
    other = run("plan", path, "--results", tmp_path, "--measure", *on_gpu).output
    is_told = "warning: each training takes a GPU but was measured on the CPU" in other
    assert is_told is not torch.cuda.is_available()
    assert re.search(r"disk: [\d.]+ MB to [\d.]+ MB of checkpoints", output)


@pytest.mark.parametrize(
    ("changes", "setting", "words"),
    [
        ({}, "search.num_trails=4", "did you mean 'num_trials'"),
        ({"data": {"name": "digitz"}}, None, "digits"),
        ({"data": {"name": "digits", "targets": ["scam"]}}, None, "scan"),
        ({"algorithms": {"edcl": None}}, None, "ndcl"),
        ({"train": {"model.backbone": "small_cmm"}}, None, "small_cnn"),
        ({"train": {"batch_size": 0}}, None, "batch_size: 0 is out of range"),
        ({"imbalance": {"setting": "long_tail", "counts": [500, 1, 1, 1, 1, 1, 1, 1, 1, 1]}}, None, "500"),
    ],
)
def test_mistakes_in_a_sweep_are_one_line(tmp_path: Path, changes: Any, setting: str | None, words: str) -> None:
    path = sweeps.written(tmp_path, **changes)
    options = ["--set", setting] if setting else []
    assert words in error_of("sweep", path, "--results", tmp_path / "results", *options)
    assert not (tmp_path / "results").exists(), "nothing is begun before the sweep is found right"


def test_a_results_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    error = error_of("sweep", sweeps.written(tmp_path), "--results", tmp_path / "file" / "results")
    assert "can't be written (Not a directory)" in error


def test_a_disk_that_fills_up_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Journal, record: object) -> None:
        raise OSError(28, "No space left on device")

    def start_one(self: Any) -> None:
        self.controller.next_trial()

    monkeypatch.setattr(sweep_run._Sweep, "_fit", start_one)
    monkeypatch.setattr(Journal, "write", full)
    error = error_of("sweep", sweeps.written(tmp_path), "--results", tmp_path)
    assert "can't be written (No space left on device); make room" in error


def test_an_interruption_is_exit_code_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Any) -> None:
        raise sweep_run.Interrupted

    monkeypatch.setattr(sweep_run._Sweep, "_fit", interrupted)
    result = run("sweep", sweeps.written(tmp_path), "--results", tmp_path)
    assert result.exit_code == 130
    assert "the same command resumes" in result.stderr


def test_report_shows_and_writes_the_comparison(tmp_path: Path) -> None:
    Journal(tmp_path / "made").write(record(0, stage="final", seed=1))
    result = run("report", "made", "--results", tmp_path)
    assert result.exit_code == 0, result.output
    assert "25.0" in result.output
    assert "25.0" in (tmp_path / "made" / "report.md").read_text()
    assert "there is no sweep 'other'" in error_of("report", "other", "--results", tmp_path)


def test_report_finds_a_sweep_by_its_yaml(tmp_path: Path) -> None:
    Journal(tmp_path / "tiny").write(record(0, stage="final", seed=1))
    assert run("report", sweeps.written(tmp_path), "--results", tmp_path).exit_code == 0


def test_status_finds_a_sweep_by_its_name_and_its_yaml(tmp_path: Path) -> None:
    path = sweeps.written(tmp_path)
    made = sweeps.planned(path, tmp_path)
    made.folder.mkdir()
    prepare(made, fresh=False)
    shown = [run("status", name, "--results", tmp_path, *more) for name, *more in (["tiny"], [path], [path, "--watch"])]
    assert [result.exit_code for result in shown] == [0, 0, 0]
    for result in shown:
        assert "sweep tiny: not running" in result.output
        assert f"next: ndcl sweep {made.folder}/sweep.yaml --results {tmp_path}" in result.output.replace("\n", "")
    assert "there is no sweep 'other'" in error_of("status", "other", "--results", tmp_path)


@pytest.fixture
def training_file(tmp_path: Path) -> Path:
    path = tmp_path / "one.yaml"
    path.write_text(yaml.safe_dump(base()))
    return path


def test_train_prints_its_result_and_again_without_training(training_file: Path, tmp_path: Path) -> None:
    first = run("train", training_file, "--results", tmp_path)
    assert first.exit_code == 0, first.output
    assert "step 4/4: loss" in first.stderr
    assert "best checkpoint: step" in first.stdout
    folder = tmp_path / "train" / "one"
    stored = json.loads((folder / "evaluations.json").read_text())
    assert [e["step"] for e in stored] == [2, 4]
    again = run("train", training_file, "--results", tmp_path)
    assert (again.stdout, again.stderr) == (first.stdout, first.stderr)
    assert json.loads((folder / "evaluations.json").read_text()) == stored


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model": {**base()["model"], "freeze_batchnorm": True}},  # as version 0.1 wrote it
        {"algorithm": {"name": "ndcl", "alpha": 0.0, "margin_temperature": 2.0}},  # tried by a search
    ],
)
def test_the_best_config_of_a_study_can_be_trained(tmp_path: Path, changes: dict[str, Any]) -> None:
    selected = replace(record(), config=base(**changes))
    text = StudySelection(key=selected.study, selected=selected, records=[selected]).files()["best_config.yaml"]
    (tmp_path / "best_config.yaml").write_text(text)
    assert load_training(tmp_path / "best_config.yaml").num_steps == base()["num_steps"]
    (tmp_path / "whole.yaml").write_text(yaml.safe_dump(base()))
    assert load_training(tmp_path / "whole.yaml") == TrainConfig.from_dict(base())
    with pytest.raises(UserError, match=r"model\.mlp_width: backbone small_cnn does not use it"):
        load_training(tmp_path / "whole.yaml", ["model.mlp_width=99"])


def test_train_goes_on_with_more_steps_and_starts_anew_if_asked(training_file: Path, tmp_path: Path) -> None:
    run("train", training_file, "--results", tmp_path)
    more = run("train", training_file, "--results", tmp_path, "--set", "num_steps=6")
    assert [line.split(":")[0] for line in more.stderr.splitlines()] == ["step 2/6", "step 4/6", "step 6/6"]
    other = ("--set", "seed=1", "--set", "num_steps=6")
    assert "seed = 0" in error_of("train", training_file, "--results", tmp_path, *other)
    fresh = run("train", training_file, "--results", tmp_path, "--set", "seed=1", "--fresh", "--quiet")
    assert fresh.exit_code == 0
    assert fresh.stderr == ""


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("optimizer.learning_rat=1", "did you mean 'learning_rate'"),
        ("num_steps", "expected key=value"),
        ("algorithm.name=nothing", "unknown algorithm 'nothing'"),
        ("optimizer.learning_rate=1e30", "the loss became NaN or infinite"),
    ],
)
def test_mistakes_in_a_training_are_one_line(training_file: Path, tmp_path: Path, setting: str, words: str) -> None:
    assert words in error_of("train", training_file, "--results", tmp_path, "--set", setting)


def test_a_training_that_is_no_file_is_one_line(tmp_path: Path) -> None:
    assert "can't be read" in error_of("train", tmp_path / "none.yaml")


def test_ui_needs_a_store(tmp_path: Path) -> None:
    assert "there is no MLflow store" in error_of("ui", "--results", tmp_path)


def test_ui_answers_on_this_machine_alone(tmp_path: Path) -> None:
    from harness.tracking.client import open_client

    open_client(tmp_path).create_experiment("seen")
    (tmp_path / "tiny").mkdir()
    open_storage(tmp_path / "tiny" / "optuna.db")
    port = free_port()
    command = [sys.executable, "-m", "harness.cli", "ui", "--results", str(tmp_path), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        assert process.stdout is not None
        command = f"optuna-dashboard sqlite:///{tmp_path}/tiny/optuna.db"
        assert command in process.stdout.readline().decode()
        assert "seen" in _experiments(port, process)
        assert {address for address, _ in listeners(process.pid)} == {"127.0.0.1"}
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def _experiments(port: int, process: "subprocess.Popen[bytes]") -> str:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search",
        data=b'{"max_results": 10}',
        headers={"Content-Type": "application/json"},
    )
    for _ in range(600):
        assert process.poll() is None
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return str(answer.read())
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the UI does not answer")


def test_only_a_users_mistake_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("harness.cli.plan.planned", broken)
    result = run("plan", "any.yaml")
    assert isinstance(result.exception, RuntimeError)
    assert not isinstance(result.exception, UserError)
