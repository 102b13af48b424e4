"""Every kind of image becomes the right pixels, or a reason that says what to do."""

import contextlib
import io
import random
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ndcl.data.importing.images import BadImageError, Conversion, convert, encode_jpeg
from tests.made.made_images import encoded, noise, quadrants

SMALL = Conversion(size=16)


def corners(pixels: np.ndarray) -> list[tuple[int, ...]]:
    """Colours rounded to black or full, of the four corners."""
    spots = (pixels[1, 1], pixels[1, -2], pixels[-2, 1], pixels[-2, -2])
    return [tuple(int(value > 127) for value in spot) for spot in spots]


UPRIGHT = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)]


def pixels_of(image: Image.Image, form: str = "PNG", conversion: Conversion = SMALL, **options: object) -> np.ndarray:
    pixels, file = convert(encoded(image, form, **options), conversion)
    assert file is None
    assert pixels.dtype == np.uint8
    assert pixels.shape == (conversion.size, conversion.size, 3)
    return pixels


def reason_of(content: bytes | Path) -> str:
    with pytest.raises(BadImageError) as error:
        convert(content, SMALL)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_every_form_of_file(form: str) -> None:
    assert corners(pixels_of(quadrants(), form)) == UPRIGHT


def test_an_image_of_the_right_size_is_not_changed() -> None:
    image = noise(0, 16, 16)
    np.testing.assert_array_equal(pixels_of(image), np.asarray(image))


def test_stretching_keeps_the_whole_image_and_cropping_its_middle() -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255
    image = Image.fromarray(wide)
    stretched = pixels_of(image)[8, :, 0]
    assert stretched[2] == stretched[-3] == 0
    assert stretched[8] == 255
    cropped = pixels_of(image, conversion=Conversion(size=16, fit="crop"))
    assert cropped.min() > 200, "only the white square in the middle is kept"


def test_resizing_is_that_of_pillow_with_antialiasing() -> None:
    image = noise(0, 61, 47)
    expected = np.asarray(image.resize((16, 16), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(pixels_of(image), expected)


def test_cropping_is_resizing_the_shorter_side_and_cutting_the_middle_out() -> None:
    image = noise(0, 64, 32)
    whole = np.asarray(image.resize((32, 16), Image.Resampling.BICUBIC), np.int64)
    cropped = pixels_of(image, conversion=Conversion(size=16, fit="crop")).astype(np.int64)
    assert np.abs(cropped - whole[:, 8:24]).max() <= 1


def test_cmyk() -> None:
    red = Image.new("CMYK", (20, 20), (0, 255, 255, 0))
    for form in ("JPEG", "TIFF"):
        assert corners(pixels_of(red, form)) == [(1, 0, 0)] * 4


def test_palette_with_and_without_transparency() -> None:
    assert corners(pixels_of(quadrants().quantize(8))) == UPRIGHT
    palette = Image.new("P", (20, 20), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    assert corners(pixels_of(palette, transparency=1)) == [(1, 1, 1)] * 4, "transparent shows white"


@pytest.mark.parametrize(("mode", "clear"), [("RGBA", (0, 0, 0, 0)), ("LA", (0, 0))])
def test_transparency_shows_white_whatever_colour_lies_under_it(mode: str, clear: tuple[int, ...]) -> None:
    image = Image.new(mode, (20, 20), clear)
    assert corners(pixels_of(image)) == [(1, 1, 1)] * 4
    half = pixels_of(Image.new("RGBA", (20, 20), (255, 0, 0, 128)))
    np.testing.assert_allclose(half[0, 0], (255, 127, 127), atol=1)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bit_gray_keeps_its_range(form: str) -> None:
    ramp = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    pixels = pixels_of(Image.fromarray(ramp), form)
    expected = np.round(ramp / 257).astype(np.int64)[..., None].repeat(3, 2)
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_thirty_two_bits_have_no_known_range(dtype: type) -> None:
    image = Image.fromarray(np.ones((8, 8), dtype))
    assert "save it with 8 or 16 bits" in reason_of(encoded(image, "TIFF"))


@pytest.mark.parametrize("mode", ["1", "L"])
def test_black_and_white(mode: str) -> None:
    image = Image.new(mode, (20, 20), 0)
    image.paste(255, (10, 0, 20, 20))
    assert corners(pixels_of(image)) == [(0, 0, 0), (1, 1, 1)] * 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientations_are_brought_upright(orientation: int) -> None:
    """Stored so that a viewer that obeys EXIF shows the quadrants."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = quadrants()
    if orientation > 1:
        image = image.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert corners(pixels_of(image, "JPEG", exif=exif.tobytes())) == UPRIGHT


@pytest.mark.parametrize(
    "block", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_a_broken_exif_block_does_not_spoil_an_image(block: bytes) -> None:
    assert corners(pixels_of(quadrants(), "JPEG", exif=b"Exif\0\0" + block)) == UPRIGHT


def test_a_single_pixel_fills_the_image() -> None:
    pixels = pixels_of(Image.new("RGB", (1, 1), (10, 20, 30)))
    assert (pixels == (10, 20, 30)).all()


@pytest.mark.parametrize("size", [(20_000, 12), (12, 20_000), (20_000, 2)])
@pytest.mark.parametrize("fit", ["stretch", "crop"])
def test_images_of_20000_pixels_on_a_side(size: tuple[int, int], fit: str) -> None:
    conversion = Conversion(size=16, fit=fit)  # type: ignore[arg-type]
    expected = UPRIGHT if fit == "stretch" else None
    found = corners(pixels_of(quadrants(*size), conversion=conversion))
    assert expected is None or found == expected


def test_a_jpeg_of_400_million_pixels_is_decoded_at_a_smaller_scale(tmp_path: Path) -> None:
    # Made from its parts, since making the image itself takes 1.2 GB.
    big = _one_colour_jpeg(20_000, 20_000)
    pixels, _ = convert(big, SMALL)
    np.testing.assert_allclose(pixels, 200, atol=3)
    assert _memory_taken(big, tmp_path) < 100e6


def test_a_png_of_400_million_pixels_is_named_and_takes_no_memory(tmp_path: Path) -> None:
    bomb = _png_header(20_000, 20_000)
    assert "20000 x 20000 pixels" in reason_of(bomb)
    assert "scale it down" in reason_of(bomb)
    assert _memory_taken(bomb, tmp_path) < 30e6


def test_a_progressive_jpeg_counts_with_all_its_pixels() -> None:
    marker = _one_colour_jpeg(20_000, 20_000).replace(b"\xff\xc0", b"\xff\xc2", 1)
    assert "20000 x 20000" in reason_of(marker)


def test_pillows_own_limit_is_left_as_it_was() -> None:
    before = Image.MAX_IMAGE_PIXELS
    convert(encoded(noise(0)), SMALL)
    reason_of(b"no image")
    assert before == Image.MAX_IMAGE_PIXELS


def test_draft_decoding_of_large_jpegs_changes_little() -> None:
    smooth = noise(0, 12, 9).resize((1200, 900), Image.Resampling.BICUBIC)
    file = encoded(smooth, "JPEG", quality=95)
    pixels, _ = convert(file, Conversion(size=64))
    with Image.open(io.BytesIO(file)) as whole:
        expected = np.asarray(whole.resize((64, 64), Image.Resampling.BICUBIC), np.int64)
    assert np.abs(pixels - expected).mean() < 2


def test_an_empty_file() -> None:
    assert "is empty (0 bytes); fetch it again" in reason_of(b"")


@pytest.mark.parametrize("content", [b"<html>404</html>", b"\0" * 100, b"\xff\xd8\xff", "é".encode() * 40])
def test_what_is_no_image(content: bytes) -> None:
    assert "no image" in reason_of(content)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
def test_truncated_images(form: str, kept: float) -> None:
    whole = encoded(noise(0, 64, 64), form)
    reason_of(whole[: int(len(whole) * kept)])


def test_a_png_whose_compressed_pixels_are_damaged() -> None:
    file = bytearray(encoded(noise(0, 64, 64)))
    file[file.index(b"IDAT") + 4] ^= 255
    assert "is damaged (broken data stream" in reason_of(bytes(file))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_random_damage_ends_as_pixels_or_a_reason_never_otherwise(form: str) -> None:
    whole = encoded(noise(0, 40, 30), form)
    dice = random.Random(0)
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(dice.randint(1, 8)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        with contextlib.suppress(BadImageError):
            assert convert(bytes(damaged), SMALL)[0].shape == (16, 16, 3)


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    assert "can't be opened (No such file" in reason_of(tmp_path / "gone.png")
    (tmp_path / "folder.png").mkdir()
    assert "can't be opened" in reason_of(tmp_path / "folder.png")


def test_jpegs_of_the_right_size_are_kept_byte_for_byte() -> None:
    file = encoded(noise(0, 16, 16), "JPEG")
    assert convert(file, Conversion(size=16, format="jpeg"))[1] == file


@pytest.mark.parametrize(
    "file",
    [
        encoded(noise(0, 16, 17), "JPEG"),
        encoded(noise(0, 16, 16), "PNG"),
        encoded(noise(0, 16, 16).convert("L"), "JPEG"),
        encoded(noise(0, 16, 16), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"),
    ],
    ids=["other size", "png", "gray", "turned"],
)
def test_other_images_are_encoded_anew(file: bytes) -> None:
    pixels, made = convert(file, Conversion(size=16, format="jpeg"))
    assert made == encode_jpeg(pixels)
    with Image.open(io.BytesIO(made)) as image:
        assert (image.size, image.mode) == ((16, 16), "RGB")


def test_pixels_pass_or_are_resized() -> None:
    pixels = np.asarray(noise(0, 16, 16))
    assert convert(pixels, Conversion(size=None))[0] is pixels
    assert convert(pixels, SMALL)[0] is pixels
    assert convert(pixels, Conversion(size=8))[0].shape == (8, 8, 3)


def _memory_taken(file: bytes, tmp_path: Path) -> float:
    """Bytes by which the memory of a process grows at most when it converts a file."""
    (tmp_path / "file").write_bytes(file)
    code = (
        "import resource, sys; from ndcl.data.importing.images import *\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "content = open(sys.argv[1], 'rb').read(); Image.init(); before = peak()\n"
        "try: convert(content, Conversion(size=16))\n"
        "except BadImageError: pass\n"
        "print(1024 * (peak() - before))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "file")]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _png_header(width: int, height: int) -> bytes:
    """A PNG of that size with almost no data."""
    small = bytearray(encoded(Image.new("RGB", (1, 1))))
    small[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    small[29:33] = zlib.crc32(small[12:29]).to_bytes(4, "big")
    return bytes(small)


def _one_colour_jpeg(width: int, height: int) -> bytes:
    """A gray JPEG of any size from a small one, whose only block is repeated: all further blocks differ by nothing."""
    small = encoded(Image.new("L", (8, 8), 200), "JPEG")
    frame = small.index(b"\xff\xc0")
    scan = small.index(b"\xff\xda")
    data = scan + 2 + int.from_bytes(small[scan + 2 : scan + 4], "big")
    header = small[: frame + 5] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + small[frame + 9 : data]
    # In the standard tables "no difference, no other frequency" is 00 1010: four blocks are three bytes.
    blocks = -(-width // 8) * -(-height // 8)
    first = small[data:-2]
    return header + first + (b"\x28\xa2\x8a" * (blocks // 4 + 1)) + b"\xff\xd9"
