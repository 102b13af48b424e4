"""Annotation lists in the forms that public sets have them, made from counts; and the images of them."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ndcl.data.catalogue import Entry
from tests.made.made_images import encoded, noise

Cell = tuple[int, int, int]
"""Domain, class and number of an image."""


def cells(counts: Any) -> Iterator[Cell]:
    """Every image that `counts` [D, K] has."""
    for domain, line in enumerate(counts):
        for label, count in enumerate(line):
            yield from ((domain, label, number) for number in range(count))


def put_image(path: Path, seed: int = 0) -> Path:
    """An image at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(noise(seed)))
    return path


def put_images(root: Path, paths: Iterable[str]) -> Path:
    """Different images at all paths below `root`."""
    for seed, path in enumerate(paths):
        put_image(root / path, seed)
    return root


def path_in(entry: Entry, cell: Cell) -> str:
    """DOMAIN/CLASS/pic_001.jpg."""
    domain, label, number = cell
    return f"{entry.domains[domain]}/{entry.classes[label]}/pic_{number + 1:03}.jpg"


def kfold_lists(folder: Path, entry: Entry, counts: Any) -> list[Path]:
    """As PACS has them: 1-based labels, and test lists that hold the rows of the two others."""
    files = []
    for index, domain in enumerate(entry.domains):
        rows = [f"{path_in(entry, cell)} {cell[1] + 1}" for cell in cells(counts) if cell[0] == index]
        cut = len(rows) * 9 // 10
        for split, part in (("train", rows[:cut]), ("crossval", rows[cut:]), ("test", rows)):
            files.append(written(folder / f"{domain}_{split}_kfold.txt", part))
    return files


def domainnet_lists(folder: Path, entry: Entry, counts: Any) -> list[Path]:
    """As DomainNet has them: 0-based labels in order of the names whatever their case, a train and a test list."""
    order = sorted(entry.classes, key=str.lower)
    files = []
    for index, domain in enumerate(entry.domains):
        mine = [cell for cell in cells(counts) if cell[0] == index]
        rows = [f"{path_in(entry, cell)} {order.index(entry.classes[cell[1]])}" for cell in mine]
        cut = len(rows) * 7 // 10
        for split, part in (("train", rows[:cut]), ("test", rows[cut:])):
            files.append(written(folder / f"{domain}_{split}.txt", part))
    return files


def split_csv(file: Path, entry: Entry, counts: Any) -> Path:
    """One CSV with a header, as published splits have it: env, label, path, split."""
    rows = [
        f"{entry.domains[cell[0]]},{cell[1]},{path_in(entry, cell)},{('train', 'val', 'test')[cell[2] % 3]}"
        for cell in cells(counts)
    ]
    return written(file, ["env,label,path,split", *rows])


def camera_traps(
    file: Path, entry: Entry, counts: Any, *, more: Iterable[tuple[str, str, tuple[str, ...]]] = ()
) -> Path:
    """COCO-style JSON as of Caltech Camera Traps: locations are numbers, every other image has two boxes of its class.

    `more` are (file name, location, categories) of further images.
    """
    names = [*entry.classes, "car", "rodent"]
    categories = [{"id": 3 * number, "name": name} for number, name in enumerate(names)]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    rows = [
        (f"{d}-{k}-{n}.jpg", entry.domains[d].removeprefix("location_"), (entry.classes[k],) * (1 + n % 2))
        for d, k, n in cells(counts)
    ]
    for name, location, found in (*rows, *more):
        images.append({"id": name.removesuffix(".jpg"), "file_name": name, "location": location, "width": 1024})
        for category in found:
            annotation = {"id": f"a{len(annotations)}", "image_id": images[-1]["id"]}
            annotations.append({**annotation, "category_id": 3 * names.index(category)})
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"info": {}, "images": images, "annotations": annotations, "categories": categories}))
    return file


def written(file: Path, lines: Iterable[str]) -> Path:
    """A list of these lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))
    return file
