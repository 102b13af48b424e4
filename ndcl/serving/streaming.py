"""Predictions for folders of any size: images are read ahead by threads, and never all in memory."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from ndcl.data.importing.walk import is_image_name, is_litter, walk
from ndcl.data.loading.ahead import done_ahead
from ndcl.errors import UserError
from ndcl.filesystems import require_no_uri
from ndcl.serving.model import Model, Predictions

PassedOver = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Part:
    """What came of some images."""

    paths: tuple[Path, ...]
    """Of the images that could be read."""
    predictions: Predictions
    """In the same order."""
    faults: tuple[str, ...]
    """One line for each image that could not."""


def predict_files(model: Model, paths: Iterable[Path], batch_size: int = 64) -> Iterator[Part]:
    """Predict image files in order, `batch_size` at a time. An image that cannot be read stops nothing.

    Raises UserError if the model takes vectors.
    """
    if model.description.inputs.kind == "vectors":
        raise UserError("this model takes vectors of features, not images; use ndcl.load_model in Python")
    for readable, inputs, faults in read_files(model, paths, batch_size):
        yield Part(paths=readable, predictions=model.predict_batch(inputs), faults=faults)


def read_files(
    model: Model, paths: Iterable[Path], batch_size: int = 64
) -> Iterator[tuple[tuple[Path, ...], Tensor, tuple[str, ...]]]:
    """Image files in order, `batch_size` at a time: those that can be read, what the network takes of them, and a line
    for each of the others.
    """
    for batch, (readable, inputs, faults) in done_ahead(lambda batch: _read(model, batch), _batches(paths, batch_size)):
        assert len(readable) + len(faults) == len(batch)
        yield readable, inputs, faults


def image_paths(places: Sequence[str], passed_over: PassedOver = lambda number: None) -> Iterator[Path]:
    """The images at `places`: files, folders with all below them in order of name, and patterns such as `*/x*.jpg`.

    `passed_over` is called with numbers of files in folders that are no images by their names; litter is not told of.
    Raises UserError, before the first image, for a place where there is nothing.
    """
    for place in places:
        if not os.path.lexists(place) and next(glob.iglob(place, recursive=True), None) is None:
            require_no_uri(place)
            raise UserError(f"there is nothing at '{place}'; give images, folders of images, or a pattern")
    return (path for place in places for path in _images_at(place, passed_over))


def _images_at(place: str, passed_over: PassedOver) -> Iterator[Path]:
    if Path(place).is_dir():
        yield from _below(Path(place), passed_over)
    elif os.path.lexists(place):
        yield Path(place)
    else:
        yield from _matching(place, passed_over)


def _matching(pattern: str, passed_over: PassedOver) -> Iterator[Path]:
    """The files that match, and the images below the folders that do; each once, and no litter but what is named."""
    is_deep = "**" in pattern  # then the files of a folder match separately
    for name in sorted(glob.iglob(pattern, recursive=True)):
        path = Path(name)
        unnamed = [part for part in path.parts if part not in Path(pattern).parts]
        if any(is_litter(part, is_folder=path.name != part or path.is_dir()) for part in unnamed):
            continue
        if not path.is_dir():
            yield path
        elif not is_deep:
            yield from _below(path, passed_over)


def _below(folder: Path, passed_over: PassedOver) -> Iterator[Path]:
    """The images that an import of this folder would find, and the folders that can't be read, which are faults."""
    unreadable: list[Path] = []
    for level in walk(folder, lambda error: unreadable.append(Path(error.filename))):
        images = [file for file in level.files if is_image_name(file)]
        passed_over(len(level.files) - len(images))
        yield from (Path(level.path) / file for file in images)
    yield from unreadable


def _batches(paths: Iterable[Path], size: int) -> Iterator[list[Path]]:
    remaining = iter(paths)
    while batch := list(islice(remaining, size)):
        yield batch


def _read(model: Model, paths: Sequence[Path]) -> tuple[tuple[Path, ...], Tensor, tuple[str, ...]]:
    """The paths of the images that can be read, what the network takes of them, and why the others cannot."""
    readable, inputs, faults = [], [model.prepare([])], []
    for path in paths:
        try:
            inputs.append(model.prepare(path))
            readable.append(path)
        except UserError as error:
            faults.append(str(error))
    return tuple(readable), torch.cat(inputs), tuple(faults)
