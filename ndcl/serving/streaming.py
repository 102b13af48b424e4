"""Predictions for folders of any size: images are read ahead by threads, and never all in memory."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from ndcl.data.ahead import done_ahead
from ndcl.data.importing.folders import IMAGE_SUFFIXES
from ndcl.errors import UserError
from ndcl.serving.model import Model, Predictions


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
    for batch, (readable, inputs, faults) in done_ahead(lambda batch: _read(model, batch), _batches(paths, batch_size)):
        assert len(readable) + len(faults) == len(batch)
        yield Part(paths=readable, predictions=model.predict_batch(inputs), faults=faults)


def image_paths(places: Sequence[str]) -> Iterator[Path]:
    """The images at `places`: files, folders with all below them in order of name, and patterns such as `*/x*.jpg`.

    Raises UserError, before the first image, for a place where there is nothing.
    """
    for place in places:
        if not os.path.lexists(place) and next(glob.iglob(place, recursive=True), None) is None:
            raise UserError(f"there is nothing at '{place}'; give images, folders of images, or a pattern")
    return (path for place in places for path in _images_at(place))


def _images_at(place: str) -> Iterator[Path]:
    if Path(place).is_dir():
        yield from _below(Path(place))
    elif os.path.lexists(place):
        yield Path(place)
    else:
        for name in sorted(glob.iglob(place, recursive=True)):
            yield from _below(Path(name)) if Path(name).is_dir() else (Path(name),)


def _below(folder: Path) -> Iterator[Path]:
    for name, folders, files in os.walk(folder):
        folders.sort()
        yield from (Path(name) / file for file in sorted(files) if Path(file).suffix.lower() in IMAGE_SUFFIXES)


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
