"""Image files to pixels, through torchvision where it can: it takes half of Pillow's time, or less.

Legend: h x w pixels of a file, which may differ from image to image.
"""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ndcl.errors import UserError

if TYPE_CHECKING:
    from ndcl.data.store import Store


def decode(content: bytes) -> Tensor:
    """Pixels uint8 [3, h, w] of a JPEG or PNG file, upright if it says how it was held.

    Raises RuntimeError, ValueError or OSError if it is none.
    """
    try:
        from torchvision.io import ImageReadMode, decode_image
    except ImportError:  # announced for a later torchvision
        return decode_by_pillow(content)
    if not content:
        raise ValueError("it is empty")
    buffer = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    pixels: Tensor = decode_image(buffer, mode=ImageReadMode.RGB, apply_exif_orientation=True)
    return pixels


def decode_by_pillow(content: bytes) -> Tensor:
    """As `decode`."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content)) as image:
        pixels = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def decoded(store: "Store", indices: NDArray[np.int64]) -> Iterator[Tensor]:
    """Pixels uint8 [3, h, w] of each encoded image at `indices`. Raises UserError, naming the image."""
    for index in indices.tolist():
        try:
            yield decode(store.encoded(index))
        except (RuntimeError, ValueError, OSError) as error:
            path = (store.paths() or {index: f"number {index}"})[index]
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"data set {store.name}: image {path} cannot be decoded ({reason}); import the data set again"
            ) from None


def resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Images uint8 [..., 3, h, w] stretched to `size` (height, width) with antialiasing, as Resize((H, W)) does."""
    from torchvision.transforms.v2 import functional

    if tuple(pixels.shape[-2:]) == size:
        return pixels
    resized: Tensor = functional.resize(pixels, list(size), antialias=True)
    return resized


def decode_to(store: "Store", indices: NDArray[np.int64], size: tuple[int, int]) -> Tensor:
    """The encoded images at `indices` [m], stretched to `size` (H, W): uint8 [m, H, W, 3]."""
    images = torch.empty((len(indices), 3, *size), dtype=torch.uint8)
    for image, pixels in zip(images, decoded(store, indices), strict=True):
        image.copy_(resize(pixels, size))
    return images.permute(0, 2, 3, 1)
