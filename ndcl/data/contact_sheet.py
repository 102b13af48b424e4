"""A picture of a data set: some images of every domain and class.

Legend: D domains, K classes.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ndcl.data.store.store import Store
from ndcl.errors import UserError
from ndcl.files import clear_write_errors

MAX_CLASSES = 16
"""More than these are thinned evenly, so that the picture fits a screen."""
IMAGES_PER_CELL = 2
_THUMB, _GAP, _MARGIN, _HEAD = 72, 3, 110, 22
_ABSENT = (225, 225, 225)
_LETTERS_OF_CLASS, _LETTERS_OF_DOMAIN = 12, 17


def shown_classes(num_classes: int) -> list[int]:
    """Indices of the classes that a sheet shows."""
    if num_classes <= MAX_CLASSES:
        return list(range(num_classes))
    return [round(index) for index in np.linspace(0, num_classes - 1, MAX_CLASSES).tolist()]


def contact_sheet(store: Store) -> Image.Image:
    """Domains from top to bottom, classes from left to right; gray where there is no image.

    Raises UserError for feature vectors, which can't be looked at.
    """
    if store.kind == "vectors":
        raise UserError(f"{store.name} holds feature vectors, which can't be drawn")
    classes, rows = shown_classes(len(store.classes)), len(store.domains) * IMAGES_PER_CELL
    sheet = Image.new("RGB", (_MARGIN + len(classes) * _THUMB, _HEAD + rows * _THUMB), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for column, label in enumerate(classes):
        text = _cut(store.classes[label], _LETTERS_OF_CLASS)
        draw.text((_MARGIN + column * _THUMB, _HEAD // 4), text, "black", font)
    for domain, name in enumerate(store.domains):
        top = _HEAD + domain * IMAGES_PER_CELL * _THUMB
        draw.text((_GAP, top + _GAP), _cut(name, _LETTERS_OF_DOMAIN), "black", font)
        for column, label in enumerate(classes):
            left = _MARGIN + column * _THUMB
            for row, thumb in enumerate(_thumbs(store, domain, label)):
                sheet.paste(thumb, (left, top + row * _THUMB))
    return sheet


def save_contact_sheet(store: Store, path: Path) -> None:
    """Write the sheet as a PNG file. Raises UserError if that can't be done."""
    sheet = contact_sheet(store)
    with clear_write_errors(path, "give another file"):
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, "PNG")


def _thumbs(store: Store, domain: int, label: int) -> list[Image.Image]:
    """IMAGES_PER_CELL pictures of one cell, spread over its images."""
    side = _THUMB - _GAP
    members = np.flatnonzero((store.domain_ids == domain) & (store.labels == label))
    chosen = members[:: max(1, len(members) // IMAGES_PER_CELL)][:IMAGES_PER_CELL]
    pixels: NDArray[np.uint8] = store.inputs(chosen).numpy() if len(chosen) else np.empty((0, 1, 1, 3), np.uint8)
    thumbs = [Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC) for image in pixels]
    return thumbs + [Image.new("RGB", (side, side), _ABSENT)] * (IMAGES_PER_CELL - len(thumbs))


def _cut(name: str, letters: int) -> str:
    return name if len(name) <= letters else f"{name[: letters - 2]}.."
