"""Random changes of training images, and the numbers that a network is given. Both work on whole batches.

Photographs are augmented by `ndcl.data.transforms_photo` instead.
Legend: m images of H x W pixels, channels last until `to_inputs`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor

from ndcl.data.inputs import IMAGENET_SIZE
from ndcl.data.store.store import Store

MAX_SHIFT = 2
"""Pixels that a digit may be moved in each direction."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class RowDraws:
    """Random numbers for some rows of a batch: drawn for all of them, so that a row's do not depend on who asks."""

    generator: torch.Generator
    num_rows: int
    """N of the whole batch."""
    rows: slice = field(default_factory=lambda: slice(None))
    """The m of them that are wanted."""

    def uniform(self) -> Tensor:
        """[m] in [0, 1)."""
        return torch.rand(self.num_rows, generator=self.generator)[self.rows]

    def below(self, limit: int, count: int) -> Tensor:
        """[count, m] whole numbers from 0 to `limit` - 1."""
        return torch.randint(limit, (count, self.num_rows), generator=self.generator)[:, self.rows]


Augmentation = Callable[[Tensor, RowDraws], Tensor]


def augmentation_for(store: Store, *, with_policy: bool = False) -> Augmentation:
    """The augmentation of small images and vectors: digits have their own, vectors none, other images are mirrored.

    A policy that follows takes the place of the digits' own.
    """
    if store.kind == "vectors" or (with_policy and store.name == "digits"):
        return unchanged
    return augment_digits if store.name == "digits" else flip_horizontally


def normalization(height: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each colour, in [0, 1], by which `to_inputs` normalises images of that height."""
    return ((0.5,) * 3, (0.5,) * 3) if height < IMAGENET_SIZE else (IMAGENET_MEAN, IMAGENET_STD)


def to_inputs(x: Tensor) -> Tensor:
    """Network inputs: uint8 images [m, H, W, 3] become float32 [m, 3, H, W], channels last in memory.

    Vectors [m, F] pass unchanged.
    Small images are scaled to [-1, 1]; those of IMAGENET_SIZE pixels or more by ImageNet's mean and deviation.
    """
    if x.dtype != torch.uint8:
        return x
    if x.shape[1] < IMAGENET_SIZE:
        return _channels_first(x).sub_(127.5).div_(127.5)
    mean, std = _imagenet(x.device)
    if x.device.type != "cpu":
        return _channels_first(x).sub_(mean).div_(std)
    # Image by image, colour by colour: what is done to an image stays in the cache.
    values = torch.empty(x.permute(0, 3, 1, 2).shape, memory_format=torch.channels_last)
    for image, value in zip(x.permute(0, 3, 1, 2), values, strict=True):
        value.copy_(image.contiguous().float().sub_(mean).div_(std))
    return values


@cache
def _imagenet(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation [3, 1, 1] of pixels in [0, 255]; copied to a device once."""
    mean, std = (255 * torch.tensor(numbers).view(3, 1, 1) for numbers in (IMAGENET_MEAN, IMAGENET_STD))
    return mean.to(device), std.to(device)


def unchanged(x: Tensor, draws: RowDraws) -> Tensor:
    """No augmentation; nothing is drawn."""
    return x


def flip_horizontally(x: Tensor, draws: RowDraws) -> Tensor:
    """Mirror each image with probability one half."""
    flipped = _chance(0.5, x, draws)
    return torch.where(flipped.view(-1, 1, 1, 1), x.flip(2), x)


def augment_digits(x: Tensor, draws: RowDraws) -> Tensor:
    """Shift by up to MAX_SHIFT pixels, grayscale, inversion and contrast, each image with its own draws.

    Digits are not mirrored or turned, which could change their class. uint8 [m, H, W, 3] in and out.
    """
    return _recolour(_shift(x, draws), draws)


def _shift(x: Tensor, draws: RowDraws) -> Tensor:
    """Move each image by up to MAX_SHIFT pixels, the border repeated outwards."""
    num_images, height, width, channels = x.shape
    down, right = draws.below(2 * MAX_SHIFT + 1, 2)[:, :, None].to(x.device)
    rows = torch.arange(height, device=x.device) + down - MAX_SHIFT
    rows = rows.clamp_(0, height - 1) + height * torch.arange(num_images, device=x.device).view(-1, 1)
    widened = _widen(x).view(-1)
    row_bytes = (width + 2 * MAX_SHIFT) * channels
    # Any stretch of `width` pixels as a row of this overlapping view: the gather then copies whole pixel rows.
    stretches = widened.as_strided((len(widened) - width * channels + 1, width * channels), (1, 1))
    return stretches.index_select(0, (rows * row_bytes + right * channels).view(-1)).view(x.shape)


def _widen(x: Tensor) -> Tensor:
    """Repeat the left and right border MAX_SHIFT times."""
    num_images, height, width, channels = x.shape
    widened = x.new_empty(num_images, height, width + 2 * MAX_SHIFT, channels)
    widened[:, :, MAX_SHIFT:-MAX_SHIFT] = x
    widened[:, :, :MAX_SHIFT] = x[:, :, :1]
    widened[:, :, -MAX_SHIFT:] = x[:, :, -1:]
    return widened


def _recolour(x: Tensor, draws: RowDraws) -> Tensor:
    """Grayscale (chance 0.3), inversion (0.3) and contrast from half to one and a half (0.5)."""
    gray = _chance(0.3, x, draws).view(-1, 1, 1, 1)
    sign = 1 - 2 * _chance(0.3, x, draws).float()
    contrast = 0.5 + draws.uniform().to(x.device)
    contrast = torch.where(_chance(0.5, x, draws), contrast, 1.0)
    # Channels first in memory: three times as fast, and what `to_inputs` wants.
    values = _channels_first(x)
    values = torch.where(gray, values.mean(1, keepdim=True), values)
    # Inversion and contrast are one linear map around the middle of the range; 128 instead of 127.5 rounds.
    values.sub_(127.5).mul_((sign * contrast).view(-1, 1, 1, 1)).add_(128.0).clamp_(0, 255)
    return values.to(torch.uint8).permute(0, 2, 3, 1)


def _channels_first(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last)


def _chance(probability: float, like: Tensor, draws: RowDraws) -> Tensor:
    return draws.uniform().to(like.device) < probability
