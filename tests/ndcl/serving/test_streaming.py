"""Images at any place and in any number are predicted in order, and those that cannot be read are told."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import ndcl
from ndcl.config import TrainConfig
from ndcl.data.loading import ahead
from ndcl.errors import UserError
from ndcl.serving import Model, export
from ndcl.serving.streaming import image_paths, predict_files
from tests.made.made_images import encoded, noise
from tests.made.made_model import DIGITS, trained
from tests.made.made_store import make_store

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("digits")
    trained(folder / "checkpoint", TrainConfig.from_dict(DIGITS))
    export(folder / "checkpoint", folder / "model")
    return ndcl.load_model(folder / "model")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven images, two of them broken, in two folders, and a file that is none."""
    root = tmp_path / "images"
    (root / "b").mkdir(parents=True)
    for number in range(5):
        place = root / "b" if number % 2 else root
        (place / f"{number}.png").write_bytes(encoded(noise(number, 20 + number, 30)))
    (root / "broken.jpg").write_bytes(b"no image")
    (root / "b" / "empty.PNG").write_bytes(b"")
    (root / "notes.txt").write_text("no image either")
    return root


def names(places: list[str]) -> list[str]:
    return [path.name for path in image_paths(places)]


def test_folders_files_and_patterns(folder: Path) -> None:
    everything = ["0.png", "2.png", "4.png", "broken.jpg", "1.png", "3.png", "empty.PNG"]
    assert names([str(folder)]) == everything
    assert names([str(folder / "*.png")]) == ["0.png", "2.png", "4.png"]
    assert names([str(folder / "b" / "3.png"), str(folder / "notes.txt")]) == ["3.png", "notes.txt"]
    assert names([str(folder / "*")]) == [*everything[:3], *everything[4:], "broken.jpg", "notes.txt"]
    odd = folder / "[1].png"
    odd.write_bytes(b"")
    assert names([str(odd)]) == ["[1].png"]


def test_patterns_take_each_image_once_and_no_litter(folder: Path) -> None:
    for litter in ("b/@eaDir/1.png", "@eaDir/1.png", "Thumbs.db", "b/.hidden/1.png"):
        (folder / litter).parent.mkdir(exist_ok=True)
        (folder / litter).write_bytes(b"x")
    everything = ["0.png", "2.png", "4.png", "1.png", "3.png", "empty.PNG", "broken.jpg", "notes.txt"]
    assert names([str(folder / "**")]) == names([str(folder / "*")]) == [*everything[:3], *everything[3:]]
    assert names([str(folder / "**" / "*.png")]) == ["0.png", "2.png", "4.png", "1.png", "3.png"]
    assert names([str(folder / "@eaDir" / "*")]) == ["1.png"], "it is named"


@pytest.mark.parametrize("place", ["nothing.png", "nothing/*.png"])
def test_a_place_with_nothing_is_told_before_the_first_image(folder: Path, place: str) -> None:
    with pytest.raises(UserError, match="there is nothing at"):
        image_paths([str(folder), str(folder / place)])


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_predictions_are_those_of_single_images(model: Model, folder: Path, batch_size: int) -> None:
    parts = list(predict_files(model, image_paths([str(folder)]), batch_size))
    paths = [path for part in parts for path in part.paths]
    assert [path.name for path in paths] == ["0.png", "2.png", "4.png", "1.png", "3.png"]
    found = np.concatenate([part.predictions.probabilities for part in parts])
    expected = np.concatenate([model.predict(path).probabilities for path in paths])
    assert found == pytest.approx(expected, abs=1e-6)
    assert all(len(part.paths) + len(part.faults) <= batch_size for part in parts)


def test_images_that_cannot_be_read_are_one_line_each(model: Model, folder: Path) -> None:
    (folder / "gone.png").symlink_to(folder / "gone")
    faults = [fault for part in predict_files(model, image_paths([str(folder)])) for fault in part.faults]
    assert [fault.count("\n") for fault in faults] == [0, 0, 0]
    assert "broken.jpg: is no image that can be read" in faults[0]
    assert "gone.png: can't be opened" in faults[1]
    assert "empty.PNG: is empty" in faults[2]


def test_images_are_asked_for_as_late_as_they_can_be(
    model: Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "READERS", 2)
    asked: list[int] = []

    def endless() -> Iterator[Path]:
        while True:
            asked.append(len(asked))
            yield folder / "0.png"

    parts = predict_files(model, endless(), batch_size=4)
    for _ in range(5):
        assert len(next(parts).paths) == 4
    assert len(asked) == 4 * (5 + 2)
    parts.close()  # type: ignore[attr-defined]


def test_a_model_of_vectors_takes_no_images(tmp_path: Path) -> None:
    store = make_store(tmp_path / "vectors", np.full((3, 3), 12), shape=(7,))
    imbalance = {"setting": "long_tail", "counts": [4, 3, 1], "validation": 2}
    values = DIGITS | {"data": {"name": str(store.folder), "target": "photo"}, "imbalance": imbalance}
    trained(tmp_path / "checkpoint", TrainConfig.from_dict(values | {"model": {"backbone": "linear"}}))
    export(tmp_path / "checkpoint", tmp_path / "model")
    with pytest.raises(UserError, match="takes vectors of features, not images"):
        next(predict_files(ndcl.load_model(tmp_path / "model"), []))
