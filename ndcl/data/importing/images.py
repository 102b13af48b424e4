"""From an image file of any kind to pixels of one size, or to the reason why not.

Pillow decodes. What it is given may be anything that lies in a folder, so that every way it can fail ends as a
BadImageError, and no file may claim more memory than MAX_DECODED_PIXELS.
"""

import io
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ndcl.data.store.image_files import in_eight_bits, turn_of

Pixels = NDArray[np.uint8]
Content = Path | bytes | Pixels
"""A file to read, an encoded image, or pixels [H, W, 3] already decoded."""

MAX_DECODED_PIXELS = 100_000_000
"""Pixels that one image may take while it is decoded (300 MB in colour); scans and panoramas stay under it."""
DEFAULT_SIZE = 256
"""Leaves room for random crops of 224 pixels, as published training on these sets takes."""
JPEG_QUALITY = 95
_DRAFT_OVERSIZE = 2
"""A JPEG may be decoded at a reduced scale that is still this many times the size asked for."""

Fit = Literal["stretch", "crop"]
Format = Literal["raw", "jpeg"]


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What is made of each image."""

    size: int | None = DEFAULT_SIZE
    """Height and width in pixels; None keeps pixels that come decoded as they are."""
    fit: Fit = "stretch"
    """`stretch` scales height and width each to `size`, so that nothing is lost: the evaluation transform of
    DomainBed. `crop` scales the shorter side and cuts the middle out."""
    format: Format = "raw"
    """`raw` stores pixels (fastest to train on), `jpeg` stores them compressed (about a tenth of the space)."""


class BadImageError(ValueError):
    """An image that can't be converted. The message is the reason and, where there is one, the remedy."""


def convert(content: Content, conversion: Conversion) -> tuple[Pixels, bytes | None]:
    """Pixels [size, size, 3] and, for format `jpeg`, their file. Raises BadImageError.

    A JPEG that has the size already, and needs no other change, is kept byte for byte.
    """
    encoded = _read(content) if isinstance(content, Path) else content
    if isinstance(encoded, np.ndarray):
        pixels, unchanged = _resized_pixels(encoded, conversion), False
    else:
        pixels, unchanged = _decode(encoded, conversion)
    if conversion.format == "raw":
        return pixels, None
    return pixels, encoded if unchanged and isinstance(encoded, bytes) else encode_jpeg(pixels)


def encode_jpeg(pixels: Pixels) -> bytes:
    """A JPEG file of pixels [H, W, 3]."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadImageError(f"can't be opened ({error.strerror}); check its permissions") from None


def _decode(encoded: bytes, conversion: Conversion) -> tuple[Pixels, bool]:
    """Pixels of the size asked for, and whether the file itself was a plain JPEG of that size."""
    if not encoded:
        raise BadImageError("is empty (0 bytes); fetch it again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd but readable files
            return _decode_with_pillow(encoded, conversion)
    except BadImageError:
        raise
    except UnidentifiedImageError:
        raise BadImageError("is no image that can be read; move it elsewhere") from None
    except Image.DecompressionBombError:
        raise BadImageError("claims far more pixels than it holds bytes for; scale it down") from None
    except Exception as error:  # decoders given broken files raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadImageError(f"is damaged ({reason}); fetch it again") from None


def _decode_with_pillow(encoded: bytes, conversion: Conversion) -> tuple[Pixels, bool]:
    with _open(encoded) as image:
        is_rgb_jpeg = image.format == "JPEG" and image.mode == "RGB"
        original_size = image.size
        if conversion.size is not None:
            width, height = _scaled(image.size, conversion)
            image.draft("RGB", (math.ceil(_DRAFT_OVERSIZE * width), math.ceil(_DRAFT_OVERSIZE * height)))
        _check_memory(image, original_size)
        turn = turn_of(image)
        upright = _to_rgb(image)
    resized = _resized(upright, conversion)
    if turn is not None:  # after resizing, when there is less to turn; the result is square
        resized = resized.transpose(turn)
    return np.asarray(resized), is_rgb_jpeg and turn is None and resized.size == original_size


def _open(encoded: bytes) -> Image.Image:
    """Opened without Pillow's own limit, which counts the pixels of JPEGs that can be decoded at a smaller scale."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        return Image.open(io.BytesIO(encoded))
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _check_memory(image: Image.Image, original_size: tuple[int, int]) -> None:
    # A progressive JPEG is held whole while it is decoded, whatever the scale.
    width, height = original_size if image.info.get("progressive") else image.size
    if width * height > MAX_DECODED_PIXELS:
        raise BadImageError(
            f"has {original_size[0]} x {original_size[1]} pixels, more than the {MAX_DECODED_PIXELS // 10**6} million "
            "that are decoded at most; scale it down"
        )


def _to_rgb(image: Image.Image) -> Image.Image:
    """In 8-bit colour. Transparency shows white; 16-bit grays keep their high byte."""
    image = in_eight_bits(image)
    if image.mode in ("I", "F"):
        raise BadImageError("has 32 bits per channel, whose range is unknown; save it with 8 or 16 bits")
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), colour).convert("RGB")
    return image.convert("RGB")


def _resized_pixels(pixels: Pixels, conversion: Conversion) -> Pixels:
    if conversion.size is None or pixels.shape[:2] == (conversion.size, conversion.size):
        return pixels
    return np.asarray(_resized(Image.fromarray(pixels), conversion))


def _resized(image: Image.Image, conversion: Conversion) -> Image.Image:
    if conversion.size is None or image.size == (conversion.size, conversion.size):
        return image
    scaled = _scaled(image.size, conversion)
    # Only the part of the original that is kept is computed; stretched images are kept whole.
    width, height = (side * conversion.size / whole for side, whole in zip(image.size, scaled, strict=True))
    left, top = (image.width - width) / 2, (image.height - height) / 2
    box = (left, top, left + width, top + height)
    return image.resize((conversion.size, conversion.size), Image.Resampling.BICUBIC, box=box)


def _scaled(size: tuple[int, int], conversion: Conversion) -> tuple[float, float]:
    """Width and height of the whole image once scaled, before anything is cut off."""
    assert conversion.size is not None
    if conversion.fit == "stretch":
        return conversion.size, conversion.size
    scale = conversion.size / min(size)
    return size[0] * scale, size[1] * scale
