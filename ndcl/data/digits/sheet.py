"""A picture of the embedded digits: `python -m ndcl.data.digits.sheet docs/digits.png` (a few seconds)."""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ndcl.data.digits.digits import CLASSES, DOMAINS, make_images
from ndcl.data.digits.styles import SIZE
from ndcl.data.optional import optional_import

ROWS_PER_DOMAIN = 2
IMAGES_PER_CELL = 2
GAP = 3
ZOOM = 2


def sheet() -> NDArray[np.uint8]:
    """Examples as one image [height, width, 3]: domains from top to bottom, digits from left to right."""
    images, _, _ = make_images(ROWS_PER_DOMAIN * IMAGES_PER_CELL)
    grid = images.reshape(len(DOMAINS), len(CLASSES), ROWS_PER_DOMAIN, IMAGES_PER_CELL, SIZE, SIZE, 3)
    bands = grid.transpose(0, 2, 4, 1, 3, 5, 6).reshape(len(DOMAINS), ROWS_PER_DOMAIN * SIZE, -1, 3)
    spaced = np.pad(bands, ((0, 0), (0, GAP), (0, 0), (0, 0)), constant_values=255)
    rows = spaced.reshape(-1, *spaced.shape[2:])[:-GAP]
    return rows.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)


def save(path: Path) -> None:
    """Write the sheet as a PNG file. Raises UserError if a package is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    optional_import("PIL.Image").fromarray(sheet()).save(path)


if __name__ == "__main__":
    save(Path(sys.argv[1]))
