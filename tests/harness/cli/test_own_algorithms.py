"""What a user's own algorithm does wrongly is told in one line that names it."""

import sys
import uuid
from pathlib import Path

import pytest
import yaml

from harness.sweep.prepare import prepare
from tests.harness.command_line import error_of, run
from tests.integration import sweeps
from tests.made.made_records import base

FILE = """
from dataclasses import dataclass

from ndcl.algorithm_configs import AlgorithmConfig, one_of, searched
from ndcl.algorithms import Algorithm, Loss


@dataclass(frozen=True, kw_only=True)
class MineConfig(AlgorithmConfig):
    name: str = "{module}:Mine"
    title = "Mine"
    weight: float = searched(0.1, low=0.01, high=1.0, log=True)


class Mine(Algorithm):
    def __init__(self, config, sources):
        super().__init__()

    def loss(self, rows):
        total = rows.losses.mean()
        return Loss(total=total, terms={{"total": total.detach()}})
"""
WEIGHT = "weight: float = searched(0.1, low=0.01, high=1.0, log=True)"


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a module with some of its text replaced, and names its algorithm."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])

    def write(old: str = "", new: str = "") -> str:
        module = f"mine_{uuid.uuid4().hex}"
        text = FILE.format(module=module)
        assert old in text
        Path(f"{module}.py").write_text(text.replace(old, new) if old else text)
        return f"{module}:Mine"

    return write


LOSSES = {
    "total = rows.losses.mean()": {
        "total = rows.losses": "the total of its loss is a tensor of shape [12]; make it one number",
        "total = rows.losses.mean().detach()": "the total of its loss has no gradient",
    },
    'return Loss(total=total, terms={"total": total.detach()})': {
        "return total": "loss returns a tensor of shape []; return ndcl.algorithms.Loss",
        "return None": "loss returns None; return ndcl.algorithms.Loss",
        "return Loss(total=total, terms={})": "the terms of its loss lack 'total'",
        'return Loss(total=total, terms={"total": total, "v": rows.losses})': "the term 'v' of its loss is a tensor of",
        'return Loss(total=total, terms={"total": 1.0})': "the term 'total' of its loss is of type float",
    },
}


@pytest.mark.parametrize(("old", "new"), [(old, new) for old, others in LOSSES.items() for new in others])
def test_what_a_loss_returns_is_looked_at(written, old: str, new: str) -> None:
    name = written(old, new)
    Path("one.yaml").write_text(yaml.safe_dump({**base(), "algorithm": {"name": name}}))
    assert f"'{name}': {LOSSES[old][new]}" in error_of("train", "one.yaml")


def test_a_sound_one_trains(written) -> None:
    Path("one.yaml").write_text(yaml.safe_dump({**base(), "algorithm": {"name": written()}}))
    assert run("train", "one.yaml").exit_code == 0


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (WEIGHT, "weight: float = searched(0.1, low=1.0, high=0.01)", "has no value from 1.0 to 0.01"),
        (WEIGHT, "weight: float = searched(0.1, low=0.0, high=1.0, log=True)", "0.0 has no logarithm"),
        (WEIGHT, "weight: float = searched(5.0, low=0.1, high=1.0)", "from 0.1 to 1.0 lacks its default 5.0"),
        (WEIGHT, "weight: int = searched(2, low=0.1, high=3.5)", "is of whole numbers"),
        (WEIGHT, "weight: float = one_of(3.0, 1.0, 2.0)", "has no choice 3.0, which is its default"),
        ("@dataclass(frozen=True, kw_only=True)\n", "", "MineConfig is no dataclass; put @dataclass(frozen=True"),
        ("from dataclasses", "import sys; sys.exit(0)\nfrom dataclasses", "can't be imported (SystemExit: 0)"),
    ],
)
def test_a_config_is_looked_at(written, old: str, new: str, words: str) -> None:
    name = written(old, new)
    for verb in (("algorithms", name), ("plan", str(sweeps.written(Path.cwd(), algorithms=["erm", name])))):
        error = error_of(*verb)
        assert f"'{name}'" in error
        assert words in error


def test_a_value_of_an_unknown_type_is_told(written) -> None:
    name = written(WEIGHT, "weight: list = None")
    Path("one.yaml").write_text(yaml.safe_dump({**base(), "algorithm": {"name": name, "weight": 0.5}}))
    assert "weight: a config can't have a value of type list" in error_of("train", "one.yaml")


def test_a_file_that_has_changed_since_a_sweep_began_is_warned_of(written) -> None:
    name = written()
    file = Path(f"{name.partition(':')[0]}.py")
    path, results = sweeps.written(Path.cwd(), algorithms=[name]), Path("results")
    plan = sweeps.planned(path, results)
    plan.folder.mkdir(parents=True)
    assert prepare(plan, fresh=False) == []
    file.write_text(file.read_text() + "\n")
    for _ in range(2):
        [line] = prepare(plan, fresh=False)
        assert line.startswith(f"warning: {file} is not as it was when this sweep began")
    assert prepare(plan, fresh=True) == []


def test_a_loss_that_is_no_number_from_the_first_is_not_blamed_on_the_learning_rate(written) -> None:
    name = written("total = rows.losses.mean()", 'total = rows.losses.mean() * float("nan")')
    Path("one.yaml").write_text(yaml.safe_dump({**base(), "algorithm": {"name": name}}))
    assert "the loss is NaN or infinite at the first step, before any learning" in error_of("train", "one.yaml")
