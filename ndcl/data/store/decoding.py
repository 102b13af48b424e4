"""Image files to pixels. docs/log.md compares Pillow with other decoders.

Legend: h x w pixels of a file, which may differ from image to image.
"""

import io

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ndcl.architectures import Interpolation
from ndcl.data.store.image_files import in_eight_bits, turn_of

FORMATS = ("JPEG", "PNG", "GIF", "WEBP")
"""What is decoded. Pillow would also start programs for some others (PostScript)."""


def decode(content: bytes) -> Tensor:
    """Pixels uint8 [3, h, w] of an image file, upright if it says how it was held; transparency is dropped.

    Raises ValueError with the reason, in one line, if it cannot be decoded.
    """
    if not content:
        raise ValueError("it is empty")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            pixels = np.array(_upright(image))
    except UnidentifiedImageError:
        raise ValueError("it is no JPEG or PNG file") from None
    except Exception as error:  # decoders of broken files raise nearly anything
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None
    return torch.from_numpy(pixels).permute(2, 0, 1)


def resize(pixels: Tensor, size: tuple[int, int], interpolation: Interpolation = "bilinear") -> Tensor:
    """Images uint8 [..., 3, h, w] stretched to `size` (height, width) with antialiasing, as Resize((H, W)) does."""
    from torchvision.transforms.v2 import InterpolationMode, functional

    if tuple(pixels.shape[-2:]) == size:
        return pixels
    mode = InterpolationMode(interpolation)
    resized: Tensor = functional.resize(pixels, list(size), interpolation=mode, antialias=True)
    return resized


def _upright(image: Image.Image) -> Image.Image:
    """An opened image in 8-bit colour."""
    image.load()
    turn = turn_of(image)
    image.info.pop("transparency", None)
    rgb = in_eight_bits(image)
    rgb = rgb if rgb.mode == "RGB" else rgb.convert("RGB")
    return rgb if turn is None else rgb.transpose(turn)
