"""The embedded data set: digits in four domains, made from installed packages alone, so that nothing is downloaded.

`scan` and `texture` use handwriting (the UCI digits that come with scikit-learn, no image in both), `print` and `sign`
type (fonts that come with matplotlib, none in both). The images are deterministic for given versions of numpy, Pillow,
scikit-learn and matplotlib; another version may change some pixels, and with them the store's digest.

Picture of the data set: `python -m ndcl.data.digits.sheet docs/digits.png`
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ndcl.data.digits.styles import Floats, draw_print, draw_scan, draw_sign, draw_texture
from ndcl.data.optional import optional_import
from ndcl.data.store.writer import write_store

DOMAINS = ("scan", "texture", "print", "sign")
CLASSES = tuple("0123456789")
IMAGES_PER_CLASS = 87
"""Of each domain; the rarest handwritten digit occurs 174 times, and two domains share it."""
_SEED = 0


def build(folder: Path) -> None:
    """Write the data set to `folder`, whole or not at all. Raises UserError if a package is missing."""
    inputs, labels, domain_ids = make_images()
    write_store(
        folder, name="digits", classes=CLASSES, domains=DOMAINS, inputs=inputs, labels=labels, domain_ids=domain_ids
    )


def make_images(
    images_per_class: int = IMAGES_PER_CLASS,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Images [n, SIZE, SIZE, 3], labels [n] and domain ids [n], by domain, then class."""
    handwriting = {domain: written_digits(domain) for domain in ("scan", "texture")}
    cells = [(d, k, i) for d in range(len(DOMAINS)) for k in range(len(CLASSES)) for i in range(images_per_class)]
    images = [_draw(d, k, i, handwriting) for d, k, i in cells]
    domain_ids, labels, _ = np.array(cells, np.int64).T
    return np.stack(images), labels.copy(), domain_ids.copy()


def written_digits(domain: str) -> Floats:
    """The handwriting that a domain uses, [10, IMAGES_PER_CLASS, 8, 8] in [0, 1]: one half of it is `scan`'s."""
    data = optional_import("sklearn.datasets").load_digits()
    half = ("scan", "texture").index(domain)
    chosen = []
    for digit in range(len(CLASSES)):
        positions = np.flatnonzero(data.target == digit)
        np.random.default_rng((_SEED, digit)).shuffle(positions)
        chosen.append(positions[half * IMAGES_PER_CLASS : (half + 1) * IMAGES_PER_CLASS])
    return np.asarray(data.images[np.array(chosen)] / 16)


def _draw(domain: int, digit: int, number: int, handwriting: dict[str, Floats]) -> NDArray[np.uint8]:
    """One image, from a separate stream of random numbers."""
    rng = np.random.default_rng((_SEED, domain, digit, number))
    name = DOMAINS[domain]
    if name == "scan":
        return draw_scan(rng, handwriting[name][digit, number])
    if name == "texture":
        return draw_texture(rng, handwriting[name][digit, number])
    return draw_print(rng, digit) if name == "print" else draw_sign(rng, digit)
