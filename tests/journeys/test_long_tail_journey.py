"""Algorithms that adjust their head after training: swept, exported, and deployed one after the other."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.journeys.clone import Clone

pytestmark = pytest.mark.soak
MINE = {
    "name": "tails",
    "data": {"name": "digits", "targets": ["sign", "scan"]},
    "imbalance": {"setting": "long_tail", "ratio": 20},
    "train": {"num_steps": 40, "evaluate_every": 20, "batch_size": 16},
    "algorithms": ["logit_adjustment", "tau_norm", "crt"],
    "search": {"num_trials": 1, "scheduler": {"name": "none"}},
    "final": {"seeds": 1},
}


@pytest.fixture(scope="module")
def photos(clone: Clone) -> Path:
    folder = clone.folder / "photos"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 20, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_they_are_compared(clone: Clone) -> None:
    (clone.folder / "tails.yaml").write_text(yaml.safe_dump(MINE, sort_keys=False))
    clone.type("ndcl sweep tails.yaml")
    report = (clone.folder / "results" / "tails" / "report.md").read_text()
    for title in ("tau_norm", "crt", "logit_adjustment"):
        assert f"| {title} " in report, report[:2000]


def test_their_models_answer_with_the_adjusted_head(clone: Clone, photos: Path) -> None:
    clone.type("ndcl export tails --to models")
    folders = sorted(path.name for path in (clone.folder / "models").iterdir())
    assert len(folders) == 6
    for name in folders:
        assert "3.png" not in clone.type(f"ndcl predict models/{name} photos/ --output {name}.csv")
        assert len((clone.folder / f"{name}.csv").read_text().splitlines()) == 4


def test_a_second_algorithm_is_deployed_after_a_first(clone: Clone, photos: Path) -> None:
    for algorithm in ("tau_norm", "crt"):
        printed = clone.type(f"ndcl deploy tails --algorithm {algorithm} --to {algorithm}")
        assert re.search(rf"^{algorithm}: on domains that it had not seen .*<- deployed$", printed, re.MULTILINE)
        described = json.loads((clone.folder / algorithm / "model.json").read_text())
        assert described["origin"]["study"].startswith(f"{algorithm}.digits")
        assert described["origin"]["study"].endswith(".none")
        assert "0.png" in clone.type(f"ndcl predict {algorithm} photos/")
    assert (clone.folder / "results" / "tails-deploy-crt").is_dir()
