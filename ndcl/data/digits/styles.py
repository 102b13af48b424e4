"""How the four domains of the embedded digits look: one drawing function each.

Every function takes a numpy Generator, from which all its randomness comes, and gives uint8 [SIZE, SIZE, 3].
Intensities are floats in [0, 1] in between; a mask is 1 where ink lies. Type is drawn on CANVAS pixels, then reduced.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndcl.data.optional import optional_import

SIZE = 28
CANVAS = 64

PRINT_FONTS = (
    "STIXGeneral.ttf",
    "STIXGeneralItalic.ttf",
    "STIXGeneralBol.ttf",
    "STIXGeneralBolIta.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Italic.ttf",
    "DejaVuSerif-Bold.ttf",
    "cmr10.ttf",
    "cmti10.ttf",
    "cmb10.ttf",
)
"""Type with serifs; like SIGN_FONTS, among the fonts that come with matplotlib."""
SIGN_FONTS = (
    "DejaVuSans.ttf",
    "DejaVuSans-Oblique.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSans-BoldOblique.ttf",
    "DejaVuSansMono.ttf",
    "DejaVuSansMono-Bold.ttf",
    "DejaVuSansMono-Oblique.ttf",
    "cmss10.ttf",
    "cmtt10.ttf",
)
"""Type without serifs."""

_GLYPH_HEIGHT = 50
_PAPER = np.array([0.93, 0.90, 0.82])
_INK = np.array([0.15, 0.13, 0.20])

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]
Rng = np.random.Generator


def draw_scan(rng: Rng, handwriting: Floats) -> Pixels:
    """A pen digit, white on black. `handwriting` is [8, 8]; nothing is random."""
    return _to_pixels(np.repeat(_pen(handwriting), 3, axis=2))


def draw_texture(rng: Rng, handwriting: Floats) -> Pixels:
    """A pen digit that inverts a coloured texture of clouds and stripes, as in MNIST-M."""
    mask = np.clip((_pen(handwriting) - 0.15) / 0.5, 0, 1)
    stripes = _stripes(rng) * rng.random(3)
    background = 0.55 * _clouds(rng, SIZE, (4, 8, 16)) + 0.25 * stripes
    return _to_pixels(np.abs(background - mask * rng.uniform(0.75, 1, 3)))


def draw_print(rng: Rng, digit: int) -> Pixels:
    """Serif type, dark on light paper, with bleeding ink, noise and specks."""
    glyph = _distort(rng, _random_glyph(rng, PRINT_FONTS, digit), turn=8, shear=0.15, scale=(0.8, 1.05), shift=4)
    mask = _as_floats(_reduce(_blur(glyph, rng.uniform(0.5, 1.6))))[..., None]
    paper = _PAPER * rng.uniform(0.85, 1.05) - 0.08 * _clouds(rng, SIZE, (4, 8, 16))[..., :1]
    ink = _INK * rng.uniform(0.4, 1.6)
    page = paper * (1 - mask) + ink * mask + rng.normal(0, 0.03, (SIZE, SIZE, 1))
    specks = rng.random((SIZE, SIZE, 1)) < 0.01
    return _to_pixels(np.where(specks, ink, page))


def draw_sign(rng: Rng, digit: int) -> Pixels:
    """Type without serifs like a house number: coloured, unevenly lit, between cut-off neighbours, out of focus."""
    glyph = _distort(rng, _random_glyph(rng, SIGN_FONTS, digit), turn=12, shear=0.25, scale=(0.75, 1.0), shift=5)
    foreground, plate = _contrasting_colours(rng)
    board = plate + _light(rng) + 0.15 * (_clouds(rng, CANVAS, (3, 6))[..., :1] - 0.5)
    for side in (-1, 1):
        if rng.random() < 0.6:
            board = _blend(board, foreground, _neighbour(rng, side))
    board = _blend(board, foreground, _as_floats(glyph)[..., None])
    board += rng.normal(0, 0.04, (CANVAS, CANVAS, 3))
    photo = _image().fromarray(_to_pixels(board))
    return np.asarray(_reduce(_blur(photo, rng.uniform(0.6, 1.8))), np.uint8)


def _pen(handwriting: Floats) -> Floats:
    """Handwriting [8, 8] enlarged to [SIZE, SIZE, 1] with a margin of two pixels."""
    image = _image()
    small = image.fromarray(_to_pixels(handwriting)).resize((SIZE - 4, SIZE - 4), image.Resampling.BICUBIC)
    return np.pad(_as_floats(small), 2)[..., None]


def _stripes(rng: Rng) -> Floats:
    """Hard stripes [SIZE, SIZE, 1] of random direction and width."""
    angle, frequency = rng.uniform(0, np.pi), rng.uniform(0.3, 1.0)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    wave = np.sin(frequency * (columns * np.cos(angle) + rows * np.sin(angle)))
    return np.asarray(wave > 0, np.float64)[..., None]


def _clouds(rng: Rng, size: int, grids: tuple[int, ...]) -> Floats:
    """Smooth coloured noise [size, size, 3] in [0, 1]: random grids, enlarged and added, the finer the fainter."""
    image = _image()
    total = np.zeros((size, size, 3))
    for level, grid in enumerate(grids):
        coarse = image.fromarray(_to_pixels(rng.random((grid, grid, 3))))
        total += _as_floats(coarse.resize((size, size), image.Resampling.BICUBIC)) * 0.6**level
    total -= total.min()
    return np.asarray(total / total.max())


def _contrasting_colours(rng: Rng) -> tuple[Floats, Floats]:
    while True:
        first, second = rng.random(3), rng.random(3)
        if abs(first.mean() - second.mean()) > 0.25:
            return first, second


def _light(rng: Rng) -> Floats:
    """A brightness ramp [CANVAS, CANVAS, 1] from one side to the other."""
    ramp = np.linspace(-0.2, 0.2, CANVAS) * rng.choice([-1, 1])
    across = np.broadcast_to(ramp, (CANVAS, CANVAS))
    return (across if rng.random() < 0.5 else across.T)[..., None]


def _neighbour(rng: Rng, side: int) -> Floats:
    """Mask [CANVAS, CANVAS, 1] of another digit that reaches in from the left (-1) or right (1)."""
    glyph = _random_glyph(rng, SIGN_FONTS, int(rng.integers(10)))
    mask = _as_floats(_distort(rng, glyph, turn=5, shear=0.1, scale=(0.7, 0.9), shift=3))
    mask = np.roll(mask, side * rng.integers(38, 46), axis=1)
    inner = slice(None, 38) if side > 0 else slice(26, None)
    mask[:, inner] = 0  # what was rolled around, or would hide the digit itself
    return mask[..., None]


def _blend(base: Floats, colour: Floats, mask: Floats) -> Floats:
    return base * (1 - mask) + colour * mask


def _random_glyph(rng: Rng, fonts: tuple[str, ...], digit: int) -> Any:
    return _glyph(fonts[rng.integers(len(fonts))], digit)


@cache
def _glyph(font_file: str, digit: int) -> Any:
    """The digit in white on black, _GLYPH_HEIGHT high, in the middle of a CANVAS x CANVAS grayscale image."""
    draw_module, font_module = optional_import("PIL.ImageDraw"), optional_import("PIL.ImageFont")
    image = _image().new("L", (CANVAS, CANVAS), 0)
    draw = draw_module.Draw(image)
    path = str(_font_folder() / font_file)
    font = font_module.truetype(path, CANVAS)
    _, top, _, bottom = draw.textbbox((0, 0), str(digit), font=font)
    font = font_module.truetype(path, int(CANVAS * _GLYPH_HEIGHT / (bottom - top)))
    left, top, right, bottom = draw.textbbox((0, 0), str(digit), font=font)
    draw.text(((CANVAS - left - right) / 2, (CANVAS - top - bottom) / 2), str(digit), fill=255, font=font)
    return image


def _distort(rng: Rng, image: Any, *, turn: float, shear: float, scale: tuple[float, float], shift: float) -> Any:
    """Turn (degrees either way), shear, scale and shift (pixels) a CANVAS x CANVAS image at random."""
    angle = np.deg2rad(rng.uniform(-turn, turn))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = rotation @ np.array([[1, rng.uniform(-shear, shear)], [0, 1]]) / rng.uniform(*scale)
    middle = np.full(2, CANVAS / 2)
    offset = middle - matrix @ (middle + rng.uniform(-shift, shift, 2))
    coefficients = tuple(np.column_stack([matrix, offset]).ravel().tolist())
    module = _image()
    return image.transform(image.size, module.Transform.AFFINE, coefficients, module.Resampling.BICUBIC)


def _blur(image: Any, radius: float) -> Any:
    return image.filter(optional_import("PIL.ImageFilter").GaussianBlur(radius))


def _reduce(image: Any) -> Any:
    return image.resize((SIZE, SIZE), _image().Resampling.LANCZOS)


def _image() -> Any:
    return optional_import("PIL.Image")


@cache
def _font_folder() -> Path:
    return Path(optional_import("matplotlib").get_data_path()) / "fonts" / "ttf"


def _as_floats(image: Any) -> Floats:
    return np.asarray(image, np.float64) / 255


def _to_pixels(values: Floats) -> Pixels:
    return (np.clip(values, 0, 1) * 255).astype(np.uint8)
