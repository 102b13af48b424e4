"""More photos arrive: from a sweep on the first ones to a model of all, as the guide to data sets tells it."""

import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

from tests.journeys.clone import Clone
from tests.journeys.guides import block, blocks

pytestmark = pytest.mark.soak

IMPORT = blocks("docs/data.md")[0].line("ndcl data import")
REPLACE = block("docs/data.md", "# more photos").line("ndcl data import")
ANEW = block("docs/data.md", "ndcl sweep mine.yaml").line("ndcl sweep")
STUDY = "erm.mine.natural.web"
SWEEP = {
    "name": "mine",
    "data": {"name": "mine", "targets": ["web"], "image_size": 16},
    "imbalance": {"setting": "natural", "validation": 1},
    "algorithms": {"erm": None},
    "train": {"num_steps": 4, "evaluate_every": 2, "batch_size": 2},
    "space": {"optimizer.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True, "default": 1e-3}},
    "search": {"num_trials": 2, "scheduler": {"name": "none"}},
    "final": {"seeds": 1},
    "tracking": {"figures": False},
}


@pytest.fixture(scope="module")
def photos(home: Path) -> Path:
    folder = home / "my_images"
    for domain in ("art", "web"):
        add(folder, domain, "cat", range(4))
        add(folder, domain, "dog", range(4))
    return folder


def add(folder: Path, domain: str, name: str, numbers: range) -> None:
    place = folder / domain / name
    place.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.effect_noise((24, 20), 60.0).convert("RGB").save(place / f"{number}.png")


def records(clone: Clone, sweep: str) -> dict[str, dict]:
    folder = clone.folder / "results" / sweep / "trials"
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


def classes(folder: Path) -> list[str]:
    return list(json.loads((folder / STUDY / "model.json").read_text())["classes"])


def test_more_photos_under_the_same_name(clone: Clone, photos: Path) -> None:
    (clone.folder / "mine.yaml").write_text(yaml.safe_dump(SWEEP))
    clone.type(IMPORT)
    clone.type("ndcl sweep mine.yaml")
    before = records(clone, "mine")
    assert [record["state"] for record in before.values()] == ["finished"] * 3

    for domain in ("art", "web"):
        add(photos, domain, "cat", range(4, 6))
        (photos / domain / "dog").rename(photos / domain / "wolf")
    assert "replaced: the earlier data set mine" in clone.type(REPLACE)
    for line in ("ndcl plan mine.yaml", "ndcl sweep mine.yaml", "ndcl export mine.yaml --to models"):
        assert ANEW in clone.type(line, code=2)
    assert records(clone, "mine") == before
    assert "was replaced" in clone.type("ndcl status mine")

    clone.type(ANEW)
    found = records(clone, "mine-2")
    assert [record["state"] for record in found.values()] == ["finished"] * 3
    assert {record["environment"]["data"]["num_images"] for record in found.values()} == {20}
    best = max(record["values"]["optimizer.learning_rate"] for record in before.values())
    tried = [record["values"]["optimizer.learning_rate"] for record in found.values()]
    assert best in tried or before[f"{STUDY}.final-000"]["values"]["optimizer.learning_rate"] in tried
    clone.type(ANEW)
    assert records(clone, "mine-2") == found

    assert "erm" in clone.type("ndcl report mine-2")
    clone.type("ndcl export mine-2 --to models")
    assert classes(clone.folder / "models") == ["cat", "wolf"]
    assert "DIFFERENT DATA" not in clone.type("ndcl report mine")
    assert "has all of sweep mine" in clone.type("ndcl sync mine")
    clone.type("ndcl export mine --old-data --to old-models")
    assert classes(clone.folder / "old-models") == ["cat", "dog"]
