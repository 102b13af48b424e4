"""Image files to pixels: every kind that a data set may hold, and every way in which one may be broken."""

import io
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ndcl.data import Store
from ndcl.data.importing import ImportOptions, import_dataset, open_source
from ndcl.data.store.decoding import decode
from ndcl.training import Training
from tests.made.made_photos import photo_config

RNG = np.random.default_rng(0)
PIXELS = np.asarray(
    Image.fromarray(RNG.integers(0, 256, (8, 7, 3), np.uint8)).resize((50, 60), Image.Resampling.BICUBIC)
)


def file_of(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(kind: str = "JPEG", **options: Any) -> bytes:
    return file_of(Image.fromarray(PIXELS), kind, **options)


def pixels_of(content: bytes) -> np.ndarray:
    tensor = decode(content)
    assert (tensor.dtype, len(tensor)) == (torch.uint8, 3)
    return tensor.permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    ("content", "tolerance"),
    [
        (photo("PNG"), 0),
        (photo("WEBP", lossless=True), 0),
        (photo(quality=95, subsampling=0), 10),
        (photo(quality=95, subsampling=0, progressive=True), 10),
    ],
    ids=["png", "webp", "jpeg", "progressive"],
)
def test_a_file_gives_the_pixels_that_it_was_made_of(content: bytes, tolerance: int) -> None:
    assert np.abs(pixels_of(content).astype(int) - PIXELS).max() <= tolerance


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGBA", "P"])
def test_other_colours_become_three_channels(mode: str) -> None:
    image = Image.fromarray(PIXELS).convert(mode)
    assert np.array_equal(pixels_of(file_of(image, "PNG")), np.asarray(image.convert("RGB")))


def test_transparency_is_dropped_without_a_remark() -> None:
    colour = Image.fromarray(PIXELS)
    with_alpha = Image.merge("RGBA", [*colour.split(), colour.convert("L")])
    palette = colour.convert("P")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(pixels_of(file_of(with_alpha, "PNG")), PIXELS)
        by_index = pixels_of(file_of(palette, "PNG", transparency=bytes(range(100))))
    assert np.array_equal(by_index, np.asarray(palette.convert("RGB")))


def test_grays_of_16_bits_keep_their_high_byte() -> None:
    gray = RNG.integers(0, 2**16, (20, 30), np.uint16)
    pixels = pixels_of(file_of(Image.fromarray(gray), "PNG"))
    assert np.array_equal(pixels, np.repeat(np.round(gray / 257).astype(np.uint8)[..., None], 3, axis=2))


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_an_image_held_sideways_is_put_upright(orientation: int, turns: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("PNG", "JPEG"):
        upright = np.rot90(pixels_of(photo(kind)), turns)
        assert np.array_equal(pixels_of(photo(kind, exif=exif.tobytes())), upright)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_broken_exif_block_does_not_cost_the_image() -> None:
    broken = photo(exif=b"Exif\0\0MM\0*\0\0\xff\xff\xff\xff")
    assert np.array_equal(pixels_of(broken), pixels_of(photo()))


def with_a_wrong_byte(content: bytes) -> bytes:
    """The compressed pixels of a PNG begin with another byte: torchvision's decoder crashed on such files."""
    first = content.index(b"IDAT") + 4
    return content[:first] + bytes([content[first] ^ 255]) + content[first + 1 :]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"no image", "it is no JPEG or PNG file"),
        (photo("TIFF"), "it is no JPEG or PNG file"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is no JPEG or PNG file"),
        (photo("PNG")[:-100], "image file is truncated"),
        (with_a_wrong_byte(photo("PNG")), "broken"),
        (photo()[:-100], "image file is truncated"),
        (photo()[:200], "Truncated"),
    ],
    ids=["empty", "text", "tiff", "postscript", "cut png", "damaged png", "cut jpeg", "head of a jpeg"],
)
def test_what_cannot_be_decoded_is_one_line(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        decode(content)
    assert len(str(caught.value).splitlines()) == 1


def test_an_image_that_claims_too_many_pixels_is_one_line() -> None:
    wide = bytearray(photo("PNG"))
    wide[16:24] = (60_000).to_bytes(4, "big") * 2
    wide[29:33] = zlib.crc32(wide[12:29]).to_bytes(4, "big")
    with pytest.raises(ValueError, match="pixels"):
        decode(bytes(wide))


@pytest.mark.parametrize("workers", [0, 1])
def test_importing_and_training_use_nothing_deprecated(
    tmp_path: Path, workers: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for domain in "abc":
        for name in ("cat", "dog"):
            folder = tmp_path / "images" / domain / name
            folder.mkdir(parents=True)
            for number in range(4):
                noise = Image.fromarray(RNG.integers(0, 256, (80, 90, 3), np.uint8))
                (folder / f"{number}.jpg").write_bytes(file_of(noise, "JPEG"))
    monkeypatch.setenv("PYTHONWARNINGS", "always::DeprecationWarning")  # of what starts below
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        options = ImportOptions(size=64, format="jpeg", jobs=1)
        import_dataset(open_source([tmp_path / "images"]), tmp_path / "data", "photos", options)
        store = Store(tmp_path / "data" / "photos")
        assert store.kind == "encoded"
        natural = {"setting": "natural", "validation": 1}
        config = photo_config(store, data={"target": "c", "workers": workers}, imbalance=natural)
        assert len(list(Training(config).evaluations())) == 2
    assert "DeprecationWarning" not in capfd.readouterr().err
