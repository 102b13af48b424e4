"""What Pillow leaves to its users: which way up an image was held, and grays of 16 bits."""

import numpy as np
from PIL import Image

_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings an image of each EXIF orientation upright; 1 is upright."""


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """What brings an opened image upright; None if it is upright, or if its EXIF block is broken.

    Loads a PNG, and raises what Pillow raises of a damaged one.
    """
    if image.format == "PNG":
        image.load()  # as `getexif` does, whose errors are ignored below
    try:
        return _TURNS.get(int(image.getexif().get(_ORIENTATION_TAG, 1)))
    except Exception:  # parsers of broken EXIF raise nearly anything, and the pixels may yet be good
        return None


def in_eight_bits(image: Image.Image) -> Image.Image:
    """A gray image of 16 bits by its high byte, which Pillow would clip instead; other images as they are."""
    if not image.mode.startswith("I;16"):
        return image
    gray = np.asarray(image, np.uint16)
    return Image.fromarray(((gray.astype(np.uint32) + 128) // 257).astype(np.uint8))
