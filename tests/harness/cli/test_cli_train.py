"""What `ndcl train` says of an earlier training that is damaged, under way or longer, and of faults of one's own."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from harness.storage.folder import alone
from tests.harness.command_line import error_of, run
from tests.made.made_records import base

FAULTY = """
from dataclasses import dataclass

from ndcl.algorithm_configs import AlgorithmConfig
from ndcl.algorithms import Algorithm, Loss, Rows, SourceDomains


@dataclass(frozen=True, kw_only=True)
class RaisesConfig(AlgorithmConfig):
    name: str = "faulty_losses:Raises"
    title = "Raises"


class Raises(Algorithm):
    def __init__(self, config: RaisesConfig, sources: SourceDomains) -> None:
        super().__init__()

    def loss(self, rows: Rows) -> Loss:
        return {}["total"]
"""


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a training of four steps, evaluated at the second and the fourth."""
    monkeypatch.chdir(tmp_path)
    Path("one.yaml").write_text(yaml.safe_dump(base()))
    assert run("train", "one.yaml").exit_code == 0
    return Path("results/train/one")


def steps(folder: Path) -> list[int]:
    return [each["step"] for each in json.loads((folder / "evaluations.json").read_text())]


@pytest.mark.parametrize("file", ["state.pt", "checkpoint.json"])
def test_a_damaged_checkpoint_is_told_and_replaced(trained: Path, file: str) -> None:
    [newest] = sorted(trained.glob("step-*"))[-1:]
    with (newest / file).open("r+b") as opened:
        opened.truncate(20)
    again = run("train", "one.yaml", "--set", "num_steps=6")
    assert again.exit_code == 0, again.output
    assert f"warning: checkpoint {newest} is damaged and is not used" in again.stderr
    assert steps(trained) == [2, 4, 6]
    assert not list(trained.glob(".*.partial"))
    assert "warning" not in run("train", "one.yaml", "--set", "num_steps=8").stderr


def test_evaluations_that_are_gone_are_told(trained: Path) -> None:
    (trained / "evaluations.json").unlink()
    again = run("train", "one.yaml", "--set", "num_steps=6")
    assert again.exit_code == 0, again.output
    assert f"warning: {trained}/evaluations.json does not have the evaluations up to step 4" in again.stderr
    assert steps(trained) == [6]


def test_the_remedy_for_damaged_evaluations_keeps_the_checkpoint(trained: Path) -> None:
    (trained / "evaluations.json").write_text('{"bad')
    error = error_of("train", "one.yaml")
    assert f"{trained}/evaluations.json" in error
    assert "delete it to continue from the checkpoint without the evaluations so far" in error
    (trained / "evaluations.json").unlink()
    assert run("train", "one.yaml", "--set", "num_steps=6").exit_code == 0


def test_fewer_steps_than_are_done_are_refused(trained: Path) -> None:
    error = error_of("train", "one.yaml", "--set", "num_steps=2")
    assert f"num_steps: 2 is less than the 4 steps that {trained} has; raise it, or train in another folder" in error
    assert steps(trained) == [2, 4]
    assert run("train", "one.yaml", "--set", "num_steps=2", "--results", "other").exit_code == 0


def test_one_process_at_a_time_trains_in_a_folder(trained: Path) -> None:
    with alone(trained.with_name(".one.lock"), "not here"):
        for options in ((), ("--fresh",)):
            error = error_of("train", "one.yaml", "--set", "num_steps=6", *options)
            assert f"{trained} is being trained by another process; wait for it" in error
    assert steps(trained) == [2, 4]
    assert run("train", "one.yaml", "--set", "num_steps=6").exit_code == 0


def test_what_several_workers_cannot_do_is_found_before_they_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("one.yaml").write_text(yaml.safe_dump({**base(), "model": {"backbone": "small_cnn"}}))
    changes = ("--set", "algorithm={name: arm}", "--workers", "2")
    assert "arm shows each row what its domain's whole batch is like" in error_of("train", "one.yaml", *changes)
    assert not Path("results/train/one").exists()


def test_a_fault_of_ones_own_loss_is_told_by_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    Path("faulty_losses.py").write_text(FAULTY)
    Path("one.yaml").write_text(yaml.safe_dump({**base(), "algorithm": {"name": "faulty_losses:Raises"}}))
    number = 1 + FAULTY.splitlines().index('        return {}["total"]')
    error = error_of("train", "one.yaml")
    assert f"'faulty_losses:Raises' fails with KeyError: 'total' (faulty_losses.py, line {number}, in loss)" in error
    sys.modules.pop("faulty_losses")
