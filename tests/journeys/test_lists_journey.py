"""Annotation lists as people have them, imported by the commands of docs/data.md."""

from pathlib import Path

import pytest

from ndcl.data.catalogue import entry_of
from tests.journeys.clone import Clone
from tests.journeys.guides import block
from tests.made.made_lists import cells, kfold_lists, path_in, put_images, written

COMMANDS = block("docs/data.md", "ndcl data import PACS/kfold").lines
PHOTOS = ["north/1.jpg", "north/2.jpg", "south side/3.jpg", "south side/4 (a).jpg"]


@pytest.fixture(scope="module", autouse=True)
def _files(clone: Clone) -> None:
    """What the commands name: images and lists of a few rows, in the forms of the public sets."""
    here, pacs = clone.folder, entry_of("PACS")
    counts = pacs.counts // pacs.counts
    put_images(here / "PACS" / "kfold", [path_in(pacs, cell) for cell in cells(counts)])
    kfold_lists(here / "PACS" / "splits", pacs, counts)
    put_images(here / "photos", PHOTOS)
    written(
        here / "photos" / "labels.csv",
        [
            "path,label,domain",
            *(f"{path},{('cat', 'dog')[n % 2]},{path.split('/')[0]}" for n, path in enumerate(PHOTOS)),
        ],
    )
    put_images(here / "iwildcam" / "train", [f"{n}.jpg" for n in range(4)])
    written(
        here / "iwildcam" / "metadata.csv",
        [
            ",split,location_remapped,y,filename",
            *(f"{n},train,{200 + n // 2},{24 * (n % 2)},{n}.jpg" for n in range(4)),
        ],
    )
    put_images(here / "images", [f"{n}.jpg" for n in range(4)])
    written(here / "pets.txt", [f"{n}.jpg {('home', 'street')[n // 2]} {1 + n % 2}" for n in range(4)])


def of(name: str) -> str:
    """The command that makes a data set."""
    (found,) = [line for line in COMMANDS if line.endswith(f"--name {name}")]
    return found


@pytest.mark.parametrize(
    ("name", "made", "said"),
    [
        ("PACS-lists", "28 images of 4 domains and 7 classes", "numbers, named by the folders of their images"),
        ("parks", "4 images of 2 domains and 2 classes", "path in column 'path', label in column 'label', domain in"),
        ("iwildcam", "4 images of 2 domains and 2 classes", "domain in column 'location_remapped'"),
        ("pets", "4 images of 2 domains and 2 classes", "classes: numbers from 1, named by --classes"),
    ],
)
def test_the_lists_of_the_page(clone: Clone, name: str, made: str, said: str) -> None:
    printed = clone.type(of(name))
    assert made in printed
    assert said in printed


def test_photos_without_classes(clone: Clone, tmp_path: Path) -> None:
    put_images(tmp_path / "my photos", ["1.jpg"])
    printed = clone.type("ndcl data import 'my photos' --name mine", cwd=tmp_path, code=2)
    assert "to classify images without a class: ndcl predict MODEL 'my photos'" in printed
