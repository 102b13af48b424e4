"""The second journey: a folder of one's own photos, with names as people have them, to predictions on new ones."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.journeys.clone import Clone, next_commands
from tests.journeys.guides import block

IMPORT = block("docs/data.md", "ndcl data import ~/my_images")
REPLACE = block("docs/data.md", "# more photos")
USE = block("docs/data.md", "ndcl plan search_spaces/photos.yaml")
DOMAINS = ("Grüße", "Real World", "photo")
CLASSES = ("Cat", "[tag] 2", "a+b", "out door", "日本")
PER_CELL = 7
SMALL = (
    "data.image_size=32",
    "train.model.backbone=small_cnn",
    "train.model.weights=none",
    "train.num_steps=4",
    "train.evaluate_every=2",
    "train.batch_size=4",
    "search.num_trials=1",
    "search.scheduler.min_resource=1",
    "final.seeds=0",
)
"""A small network, without a download; a single training of few steps a study."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person with photos: one domain from a Mac, one linked, one unpacked into `images`; and some new ones."""
    home = tmp_path_factory.mktemp("home")
    generator = np.random.default_rng(0)

    def take(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = generator.integers(0, 256, (4, 5, 3), np.uint8)
        Image.fromarray(coarse).resize((50, 40)).save(path)

    for place in ("my_images/Gru\u0308ße", "my_images/Real World/images", "disk/photo"):
        for name in CLASSES:
            for number in range(PER_CELL):
                take(home / place / name / f"{number} [{number}].jpg")
    (home / "my_images" / "photo").symlink_to(home / "disk" / "photo")
    for litter in ("__MACOSX/Real World/images/Cat/._0.jpg", "photo/.ipynb_checkpoints/0.png", "photo/Cat/Thumbs.db"):
        path = home / "my_images" / litter
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no image")
    for name in ("1.jpg", "Übersicht [2].png", "out door/日本 3.png", ".ipynb_checkpoints/1-checkpoint.png"):
        take(home / "new_photos" / name)
    return home


def test_import(clone: Clone) -> None:
    printed = clone.type(IMPORT.line("ndcl data import"))
    assert "105 images of 3 domains and 5 classes" in printed
    assert "read as DOMAIN/images/CLASS/IMAGE" in printed
    assert "passed over: .ipynb_checkpoints, __MACOSX" in printed
    assert "warning" not in printed
    (command,) = next_commands(printed)
    assert command == IMPORT.line("ndcl data show")


def test_show(clone: Clone) -> None:
    printed = clone.type(IMPORT.line("ndcl data show"))
    assert all(name in printed for name in (*DOMAINS, *CLASSES))
    assert printed.count(" 7 ") >= len(DOMAINS) * len(CLASSES)
    assert (clone.folder / "mine.png").read_bytes().startswith(b"\x89PNG")


def test_imbalance(clone: Clone) -> None:
    printed = clone.type(IMPORT.line("ndcl data imbalance"))
    assert all(name in printed for name in (*DOMAINS, *CLASSES))


def test_plan(clone: Clone) -> None:
    typed = "Gru\u0308ße"  # as a Mac's file dialog gives it
    printed = clone.type(USE.line("ndcl plan"), *SMALL, f"data.targets=[{typed}, Real World]")
    assert "4 studies, 4 trainings of which 0 are done" in " ".join(printed.split())


def test_sweep_and_export(clone: Clone) -> None:
    printed = clone.type(USE.line("ndcl sweep"), *SMALL)
    assert "results: results/mine" in printed
    assert "Real World" in (clone.folder / "results" / "mine" / "report.html").read_text()
    clone.type(USE.line("ndcl export"))
    models = [json.loads(path.read_text()) for path in (clone.folder / "models").glob("*/model.json")]
    assert sorted(model["origin"]["data"]["target"] for model in models) == sorted(2 * DOMAINS)
    assert all(model["classes"] == list(CLASSES) for model in models)


def test_predict(clone: Clone, home: Path) -> None:
    shown, written = [line for line in USE.lines if line.startswith("ndcl predict")]
    printed = clone.type(shown)
    assert printed.count("1.jpg") == 2, "as a file, and from its folder"
    assert "Übersicht [2].png" in printed
    assert "checkpoint" not in printed
    clone.type(written)
    rows = list(csv.DictReader((clone.folder / "found.csv").open(encoding="utf-8")))
    new = ["1.jpg", "Übersicht [2].png", "out door/日本 3.png"]
    assert [row["image"] for row in rows] == [str(home / "new_photos" / name) for name in new]
    assert {row["class"] for row in rows} <= set(CLASSES)


def test_more_photos_arrive(clone: Clone, home: Path) -> None:
    """The same command says how to take them in."""
    shutil.copy(home / "new_photos" / "1.jpg", home / "my_images" / "Gru\u0308ße" / "Cat" / "new.jpg")
    assert "--replace" in clone.type(IMPORT.line("ndcl data import"), code=2)
    assert "106 images" in clone.type(REPLACE.lines[0])
