"""Images from anywhere, as the training's evaluation would have had them had they been in its data set.

Legend: h x w pixels of an image, H x W as the network takes them, n images.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ndcl.data.importing.images import BadImageError, Conversion, convert
from ndcl.data.store.decoding import decode, resize
from ndcl.errors import UserError
from ndcl.serving.description import Inputs

Image = Path | str | bytes | np.ndarray | Tensor
"""A file, its content, or pixels uint8 [h, w, 3]."""


def to_batch(items: Any, inputs: Inputs) -> Tensor:
    """What the network takes of `items`: uint8 [n, H, W, 3], or float32 [n, F] of vectors.

    `items` are images, of any sizes, or one array of images [n, h, w, 3] or vectors [n, F]. Raises UserError if they
    are not what the model was made for, or an image cannot be read.
    """
    if inputs.kind == "vectors":
        return _vectors(items, inputs.shape[0])
    pixels = [to_pixels(item, inputs) for item in items]
    return torch.stack(pixels) if pixels else torch.empty((0, *inputs.shape), dtype=torch.uint8)


def to_pixels(image: Image, inputs: Inputs) -> Tensor:
    """One image as uint8 [H, W, 3]: given the data set's size, as on import, then the network's. Raises UserError."""
    size = (inputs.shape[0], inputs.shape[1])
    try:
        pixels = _imported(image, inputs)
    except (BadImageError, RuntimeError, ValueError, OSError) as error:
        named = f"image {image}" if isinstance(image, (str, Path)) else "an image"
        raise UserError(f"{named}: {reason_of(error)}") from None
    return resize(pixels, size, inputs.interpolation).permute(1, 2, 0)


def reason_of(error: Exception) -> str:
    """The first line of what a decoder says."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _imported(image: Image, inputs: Inputs) -> Tensor:
    """Pixels uint8 [3, h, w] as the data set has them, or would have."""
    if isinstance(image, (np.ndarray, Tensor)):
        content: Any = _require_pixels(image)
    else:
        content = _content(Path(image)) if isinstance(image, (str, Path)) else image
        if inputs.kind == "encoded":  # decoded by training and evaluation themselves
            pixels = decode(content)
            if inputs.import_size is None or tuple(pixels.shape[1:]) == (inputs.import_size,) * 2:
                return pixels
    converted, _ = convert(content, Conversion(size=inputs.import_size, fit=inputs.fit))
    return torch.from_numpy(np.array(converted)).permute(2, 0, 1)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadImageError(f"can't be opened ({error.strerror})") from None


def _require_pixels(image: np.ndarray | Tensor) -> np.ndarray:
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"pixels must be uint8 [h, w, 3], got {pixels.dtype} {list(pixels.shape)}")
    return pixels


def _vectors(items: Any, num_features: int) -> Tensor:
    if isinstance(items, Sequence) and items and isinstance(items[0], (np.ndarray, Tensor)):
        items = np.stack([np.asarray(item) for item in items])
    try:
        vectors = torch.as_tensor(np.asarray(items, np.float32))
    except (TypeError, ValueError):
        raise UserError(f"this model takes vectors of {num_features} features, not images or files") from None
    if vectors.ndim != 2 or vectors.shape[1] != num_features:
        raise UserError(f"this model takes vectors [n, {num_features}], got an array {list(vectors.shape)}")
    return vectors
