"""What version 0.1 wrote still loads: a sweep's journal and checkpoints, a training that continues, an exported model.

tests/golden/version_0_1 holds a sweep of linear heads on 72 vectors, as that version left it, without its databases.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.records import Journal
from harness.state import read_status
from ndcl import load_model
from ndcl.data import open_dataset

WRITTEN = Path(__file__).parents[1] / "golden" / "version_0_1"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, with its data, as the working directory."""
    shutil.copytree(WRITTEN, tmp_path, dirs_exist_ok=True)
    (tmp_path / "out").rename(tmp_path / "results")
    monkeypatch.setenv("NDCL_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(line: str) -> str:
    result = CliRunner().invoke(app, line.split())
    assert result.exit_code == 0, result.output
    return result.output


def test_a_sweep_is_read_and_reported(here: Path) -> None:
    status = read_status(here / "results", "early")
    assert status.is_done
    assert [record.state for record in status.records] == ["finished"] * 6
    assert "6 trainings of which 6 are done" in typed("plan early.yaml")
    assert "ndcl - erm" in typed("report early").replace("NDCL", "ndcl").replace("ERM", "erm")
    assert (here / "results" / "early" / "report.html").is_file()


def test_its_selected_models_are_exported_from_the_checkpoints(here: Path) -> None:
    typed("export early --to again")
    vectors = open_dataset("early").inputs(np.arange(6)).numpy()
    old, new = (load_model(here / name / "ndcl.early.natural.x") for name in ("models", "again"))
    np.testing.assert_array_equal(old.predict(vectors).probabilities, new.predict(vectors).probabilities)


def test_a_training_continues_from_its_checkpoint(here: Path) -> None:
    before = json.loads((here / "results" / "train" / "train" / "evaluations.json").read_text())
    typed("train train.yaml --set num_steps=6 --quiet")
    after = json.loads((here / "results" / "train" / "train" / "evaluations.json").read_text())
    assert after[: len(before)] == before
    assert [evaluation["step"] for evaluation in after] == [2, 4, 6]


def test_a_record_is_written_as_it_was_read(here: Path) -> None:
    journal = Journal(here / "results" / "early")
    records = journal.read()
    for record in records:
        journal.write(record)
    assert journal.read() == records
