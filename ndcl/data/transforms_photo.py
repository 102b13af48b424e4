"""The augmentation of photographs that the field uses for these data sets, with its defaults.

DomainBed (Gulrajani & Lopez-Paz 2021): RandomResizedCrop(scale 0.7 to 1), RandomHorizontalFlip, ColorJitter(0.3, 0.3,
0.3, 0.3), RandomGrayscale(0.1), in this order. What is done to each image is drawn first, on the host; then it is done
either image by image (`augment_each`, the fastest on a CPU and for images of different sizes) or to the whole batch at
once (`augment_batch`, for a GPU). Both follow torchvision's definitions, but round to whole numbers only at the end.

Legend: m images, h x w pixels before and H x W after. Colours are floats in [0, 255], channels first.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from ndcl.batch import to_device

SCALE = (0.7, 1.0)
"""Share of the image's area that a crop keeps."""
RATIO = (3 / 4, 4 / 3)
"""Width over height of a crop."""
TRIES = 10
"""Crops tried before the largest in the middle is taken."""
JITTER = 0.3
"""Factors of brightness, contrast and saturation differ from 1 by up to this; hue turns by up to this part of 1."""
GRAYSCALE_CHANCE = 0.1
_GRAY = (0.2989, 0.587, 0.114)
_HUE_OFFSETS = (3 / 6, 1 / 6, -1 / 6)

Ids = NDArray[np.int64]
Factor = Tensor | float
Adjustment = Callable[[Tensor, Factor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What is to be done to each of m images."""

    areas: NDArray[np.float64]
    """[m, TRIES] share of the area kept by each crop that is tried."""
    ratios: NDArray[np.float64]
    """[m, TRIES] their width over height."""
    corners: NDArray[np.float64]
    """[m, 2] where the crop lies between top and bottom, left and right, in [0, 1)."""
    flips: NDArray[np.bool_]
    """[m] whether it is mirrored."""
    orders: Ids
    """[m, 4] the order of the steps of ADJUSTMENTS."""
    factors: NDArray[np.float32]
    """[m, 4] how far each of ADJUSTMENTS goes."""
    grays: NDArray[np.bool_]
    """[m] whether the colours are lost."""

    def of(self, rows: slice) -> "Draws":
        """What is to be done to some of the images."""
        return Draws(**{name: numbers[rows] for name, numbers in vars(self).items()})


def draw(num_images: int, generator: torch.Generator) -> Draws:
    """Draw what is to be done to `num_images` images; nothing else is random."""
    uniform = torch.rand((num_images, 2 * TRIES + 12), generator=generator, dtype=torch.float64).numpy()
    areas, ratios, corners, flips, orders, factors, grays = np.split(
        uniform, np.cumsum([TRIES, TRIES, 2, 1, 4, 4]), axis=1
    )
    return Draws(
        areas=SCALE[0] + (SCALE[1] - SCALE[0]) * areas,
        ratios=np.exp(np.log(RATIO[0]) + (np.log(RATIO[1]) - np.log(RATIO[0])) * ratios),
        corners=corners,
        flips=flips[:, 0] < 0.5,
        orders=np.argsort(orders, axis=1),
        factors=(NEUTRAL + JITTER * (2 * factors - 1)).astype(np.float32),
        grays=grays[:, 0] < GRAYSCALE_CHANCE,
    )


def crop_boxes(sizes: Ids, draws: Draws) -> Ids:
    """Top, left, height and width [m, 4] of the crops from images of `sizes` [m, 2] (height, width)."""
    heights, widths = sizes[:, :1], sizes[:, 1:]
    areas = heights * widths * draws.areas
    tried = np.stack([np.rint(np.sqrt(areas / draws.ratios)), np.rint(np.sqrt(areas * draws.ratios))], axis=2)
    fits = ((tried > 0) & (tried <= sizes[:, None])).all(axis=2)
    first = fits.argmax(axis=1)
    chosen = tried[np.arange(len(sizes)), first]
    found = np.any(fits, axis=1, keepdims=True)
    extents = np.where(found, chosen, _largest(sizes))
    room = sizes - extents
    corners = np.where(found, np.floor(draws.corners * (room + 1)), room // 2)
    return np.concatenate([corners, extents], axis=1).astype(np.int64)


def _largest(sizes: Ids) -> NDArray[np.float64]:
    """Height and width [m, 2] of the largest crops of a permitted shape."""
    heights, widths = sizes.T.astype(np.float64)
    return np.stack(
        [np.minimum(heights, np.rint(widths / RATIO[0])), np.minimum(widths, np.rint(heights * RATIO[1]))], axis=1
    )


def augment_each(images: Iterable[Tensor], size: tuple[int, int], draws: Draws, *, colours: bool = True) -> Tensor:
    """Augment images uint8 [3, h, w], each of its own size, one after the other: uint8 [m, 3, H, W].

    Without `colours` they are cropped and mirrored alone.
    """
    augmented = torch.empty((len(draws.flips), 3, *size), dtype=torch.uint8)
    boxes = cache(lambda height, width: crop_boxes(np.tile([height, width], (len(augmented), 1)), draws).tolist())
    for i, image in enumerate(images):
        top, left, height, width = boxes(*image.shape[1:])[i]
        crop = image[None, :, top : top + height, left : left + width]
        crop = interpolate(crop, size, mode="bilinear", antialias=True)  # on bytes, as torchvision's resize
        crop = crop.flip(3) if draws.flips[i] else crop
        if not colours:
            augmented[i] = crop[0]
            continue
        planes = crop.to(torch.float32, memory_format=torch.contiguous_format)
        augmented[i] = _to_pixels(_recolour_one(planes, draws, i))[0]
    return augmented


def augment_batch(images: Tensor, size: tuple[int, int], draws: Draws, *, colours: bool = True) -> Tensor:
    """Augment images uint8 [m, h, w, 3] of one size, on whatever device, all at once: uint8 [m, 3, H, W].

    Without `colours` they are cropped and mirrored alone.
    """
    num_images, height, width, _ = images.shape
    boxes = crop_boxes(np.tile([height, width], (num_images, 1)), draws)
    top, left, box_height, box_width = to_device(boxes.astype(np.float32).T, images.device)[..., None, None]
    rows = _resize_weights(top, box_height, height, size[0])
    columns = _resize_weights(left, box_width, width, size[1])
    flips = to_device(draws.flips, images.device)
    columns = torch.where(flips[:, None, None], columns.flip(1), columns)
    # [m, 3, h, w]: rows first, then columns, as two batched products
    pixels = images.permute(0, 3, 1, 2).float()
    crops = rows[:, None] @ pixels @ columns[:, None].transpose(2, 3)
    return _to_pixels(_recolour(crops, draws) if colours else crops)


def _resize_weights(start: Tensor, length: Tensor, total: int, size: int) -> Tensor:
    """Weights [m, size, total] of the pixels of a line in each pixel of the resized crop of it.

    Bilinear with antialiasing: a triangle as wide as an output pixel, cut off at the crop's ends. `start` and `length`
    [m, 1, 1] are the crops'.
    """
    scale = length / size
    pixels = torch.arange(total, device=start.device) + 0.5
    centres = start + (torch.arange(size, device=start.device).view(-1, 1) + 0.5) * scale
    weights = 1 - (pixels - centres).abs() / scale.clamp(min=1)
    inside = (pixels > start) & (pixels < start + length)
    weights = weights.clamp_(min=0) * inside
    return weights / weights.sum(dim=2, keepdim=True)


def _to_pixels(values: Tensor) -> Tensor:
    # by way of int16, because torch converts floats to bytes one at a time
    return values.add_(0.5).to(torch.int16).to(torch.uint8)


def _recolour_one(x: Tensor, draws: Draws, i: int) -> Tensor:
    """Colour jitter and grayscale of the float image number i, [1, 3, H, W], which may be written to."""
    for kind in draws.orders[i].tolist():
        x = ADJUSTMENTS[kind](x, float(draws.factors[i, kind]))
    return adjust_saturation(x, 0.0) if draws.grays[i] else x


def _recolour(x: Tensor, draws: Draws) -> Tensor:
    """Colour jitter and grayscale of float images [m, 3, H, W], which may be written to."""
    for position in range(len(ADJUSTMENTS)):
        kinds = draws.orders[:, position]
        for kind in sorted(set(kinds.tolist())):
            x = _adjust(x, np.flatnonzero(kinds == kind), ADJUSTMENTS[kind], draws.factors[:, kind])
    return _adjust(x, np.flatnonzero(draws.grays), adjust_saturation, np.zeros(len(x), np.float32))


def _adjust(x: Tensor, members: Ids, adjust: Adjustment, factors: NDArray[np.float32]) -> Tensor:
    """Adjust the images `members` of x, each by its own of `factors` [m]; x may be written to."""
    if len(members) == 0:
        return x
    of_members = to_device(factors[members], x.device).view(-1, 1, 1, 1)
    if len(members) == len(x):
        return adjust(x, of_members)
    positions = to_device(members, x.device)
    return x.index_copy_(0, positions, adjust(x[positions], of_members))


@cache
def _constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Numbers [1, n] on a device, copied there once."""
    return torch.tensor([values], device=device)


def gray(x: Tensor) -> Tensor:
    """Luma [m, 1, H, W] of images [m, 3, H, W]."""
    return (_constant(_GRAY, x.device) @ x.flatten(2)).view(len(x), 1, *x.shape[2:])


def adjust_brightness(x: Tensor, factor: Factor) -> Tensor:
    """Towards black, or away from it. Writes to x; `factor` is [m, 1, 1, 1] or one for all, as below."""
    return x.mul_(factor).clamp_(0, 255)


def adjust_contrast(x: Tensor, factor: Factor) -> Tensor:
    """Towards the image's mean luma, or away from it. Writes to x."""
    mean = gray(x.mean((2, 3), keepdim=True))
    return x.mul_(factor).add_((1 - factor) * mean).clamp_(0, 255)


def adjust_saturation(x: Tensor, factor: Factor) -> Tensor:
    """Towards each pixel's luma, or away from it. Writes to x."""
    luma = gray(x) * (1 - factor)
    return x.mul_(factor).add_(luma).clamp_(0, 255)


def adjust_hue(x: Tensor, turn: Factor) -> Tensor:
    """Turn the hue by a share of the circle, value and saturation kept.

    The same as by way of HSV, without its case distinctions, which cost most of the time on a CPU. For t in [0, 3], the
    hue in sixths of the circle, mirrored to the half where green is at least blue, in all cases
    t = (green + blue - red + max - 2 min) / chroma.
    """
    red, green, blue = x[:, :1], x[:, 1:2], x[:, 2:]
    largest = torch.maximum(torch.maximum(red, green), blue)
    smallest = torch.minimum(torch.minimum(red, green), blue)
    chroma = largest - smallest
    mirrored = (green + blue).sub_(red).add_(largest).sub_(smallest, alpha=2)
    mirrored = mirrored.div_(chroma.clamp(min=1e-4))
    hue = torch.copysign(mirrored, green - blue).div_(6).add_(turn)
    # A channel is the largest within a sixth of the circle around its hue, the smallest beyond two sixths.
    distance = hue + _constant(_HUE_OFFSETS, x.device).view(3, 1, 1)
    distance = distance.sub_(distance.round()).abs_()
    return torch.addcmul(largest, chroma, torch.rsub(distance, 2, alpha=6).clamp_(0, 1), value=-1)


ADJUSTMENTS = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)
"""The steps of the colour jitter, in the order of `Draws.factors`."""
NEUTRAL = np.array([1, 1, 1, 0])
"""The factors of ADJUSTMENTS that change nothing."""
