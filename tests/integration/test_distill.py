"""One network in place of a study's ensemble: trained, resumed, exported, told; and what one does wrong."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from ndcl import load_model
from tests.integration import sweeps

STUDY = "ndcl.digits.long_tail-20.scan"
CHANGES = {
    "data": {"name": "digits", "targets": ["scan"]},
    "algorithms": {"ndcl": None},
    "train": {"num_steps": 40, "evaluate_every": 20, "batch_size": 8},
    "space": {},
    "search": {"num_trials": 1, "scheduler": {"name": "none"}},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distill")
    sweeps.finished(sweeps.written(folder, **CHANGES), folder / "results")
    return folder / "results"


def distil(results: Path, to: Path, *more: str) -> tuple[int, str]:
    return sweeps.ran("distill", "tiny", "--results", str(results), "--to", str(to), *more)


def test_a_student_is_a_model_and_its_worth_stands_beside_the_others(results: Path, tmp_path: Path) -> None:
    code, output = distil(results, tmp_path / "small")
    assert code == 0, output
    for row in ("single runs (mean of 2)", "ensemble of 2", "distilled"):
        assert re.search(rf"{re.escape(row)} +\d+\.\d %", output), output
    model = load_model(tmp_path / "small" / STUDY)
    pixels = np.random.default_rng(0).integers(256, size=(5, 28, 28, 3), dtype=np.uint8)
    probabilities = model.predict(pixels).probabilities
    assert probabilities.shape == (5, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    described = json.loads((tmp_path / "small" / STUDY / "model.json").read_text())
    assert described["origin"]["distilled"]["num_steps"] == 40
    before = (results / "tiny" / "distilled").glob("*/step-*")
    kept = {path: path.stat().st_mtime_ns for path in before}
    assert distil(results, tmp_path / "again")[0] == 0  # goes on from its end: nothing is trained anew
    assert {path: path.stat().st_mtime_ns for path in (results / "tiny" / "distilled").glob("*/step-*")} == kept
    weights = [(tmp_path / to / STUDY / "model.safetensors").read_bytes() for to in ("small", "again")]
    assert weights[0] == weights[1]


def test_a_longer_student_with_other_targets_is_another(results: Path, tmp_path: Path) -> None:
    code, output = distil(results, tmp_path / "long", "--steps", "60", "--temperature", "1", "--study", STUDY)
    assert code == 0, output
    assert "60/60" in output


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--study", "erm.digits.long_tail-20.scan"), "erm.digits.long_tail-20.scan"),
        (("--temperature", "0"), "greater than or equal to 0.1"),
        (("--steps", "0"), "greater than or equal to 1"),
    ],
)
def test_a_mistake_gets_one_line(results: Path, tmp_path: Path, more: tuple[str, ...], words: str) -> None:
    code, output = distil(results, tmp_path / "small", *more)
    assert code == 2
    assert words in output
    assert not (tmp_path / "small").exists()


def test_a_folder_that_is_there_is_left_alone(results: Path, tmp_path: Path) -> None:
    (tmp_path / STUDY).mkdir()
    code, output = distil(results, tmp_path)
    assert (code, len(output.strip().splitlines())) == (2, 1)
    assert "exists already; delete it first, or give another folder" in output
