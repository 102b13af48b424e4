"""Images of every kind that an import meets."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES, DOMAINS = ("cat", "dog", "owl"), ("art", "photo")


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def noise(seed: int, width: int = 12, height: int = 9) -> Image.Image:
    """An image that no other seed gives."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def quadrants(width: int = 40, height: int = 20) -> Image.Image:
    """Red, green / blue, white: shows how an image was turned."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (255, 0, 0)
    pixels[: height // 2, width // 2 :] = (0, 255, 0)
    pixels[height // 2 :, : width // 2] = (0, 0, 255)
    pixels[height // 2 :, width // 2 :] = (255, 255, 255)
    return Image.fromarray(pixels)


def make_folder(root: Path, images_per_cell: int = 2) -> Path:
    """Folders domain/class/image, all images different."""
    seed = 0
    for domain in DOMAINS:
        for name in CLASSES:
            folder = root / domain / name
            folder.mkdir(parents=True)
            for number in range(images_per_cell):
                (folder / f"{number}.png").write_bytes(encoded(noise(seed)))
                seed += 1
    return root
