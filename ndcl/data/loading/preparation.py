"""What is done to images before they reach the device: read, decode, crop, augment. Runs in worker processes too.

Legend: m images, H x W pixels as delivered, N rows of a training batch, of which a worker's share is made.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ndcl.batch import WHOLE, Share
from ndcl.config import TrainConfig
from ndcl.data import transforms_photo
from ndcl.data.inputs import delivered_shape, holds_photos
from ndcl.data.loading.sampler import DomainSampler
from ndcl.data.policies import by_policy
from ndcl.data.problem import Problem
from ndcl.data.store.decoding import resize
from ndcl.data.store.store import decoded
from ndcl.data.transforms import RowDraws, augmentation_for
from ndcl.seeds import AUGMENTATION, POLICY, stream_seed

Job = int | NDArray[np.int64]
"""What can be asked for: the training batch of a step, or the images at some indices, for evaluation."""


class Preparation:
    """Makes the inputs of a training; a pure function of the config and the step or the indices."""

    def __init__(
        self, problem: Problem, sampler: DomainSampler, config: TrainConfig, on_device: bool, share: Share = WHOLE
    ) -> None:
        """With `on_device` photographs are left as they are stored, to be cropped and augmented on the device.

        Of the N rows of a training batch only `share` is made, the same as in the whole batch.
        """
        self.problem = problem
        self.sampler = sampler
        self.config = config
        self.on_device = on_device
        self.rows = share.rows(config.batch_size * len(problem.train))
        """Those of the N that are made."""
        self.is_photos = holds_photos(problem.store)
        shape = delivered_shape(problem.store, config.image_size)
        self.size = (shape[0], shape[1] if len(shape) > 1 else 1)
        """Height and width of delivered images; without meaning for vectors."""
        self.interpolation = config.model.interpolation
        self._latest: tuple[int, NDArray[np.int64]] | None = None

    def __getitem__(self, job: Job) -> Tensor:
        """Images uint8, ready but for normalisation, or vectors: [m, ...].

        Photographs are channels first [m, 3, H, W], or [m, h, w, 3] as stored if they are left to the device.
        """
        return self.training(job) if isinstance(job, int) else self.evaluation(job)

    @property
    def input_bytes(self) -> int:
        """Of one input as it is handed over."""
        store = self.problem.store
        if store.kind == "vectors":
            return 4 * store.input_shape[0]
        return math.prod(store.input_shape if self.on_device else (*self.size, 3))

    def indices(self, step: int) -> NDArray[np.int64]:
        """Store indices [N] of the batch of a step, in domain order."""
        if self._latest is None or self._latest[0] != step:  # asked for twice a step: for the images and their labels
            rows = self.sampler.rows(step)
            parts = [train[r] for train, r in zip(self.problem.train, rows, strict=True)]
            self._latest = step, np.concatenate(parts)
        return self._latest[1]

    def generator(self, step: int) -> torch.Generator:
        """Random numbers for the augmentation of a step."""
        return torch.Generator().manual_seed(stream_seed(self.config.seed_at(step), step, AUGMENTATION))

    def draws(self, step: int) -> transforms_photo.Draws:
        """What is done to the photographs of a step."""
        return transforms_photo.draw(len(self.indices(step)), self.generator(step)).of(self.rows)

    def training(self, step: int) -> Tensor:
        """The images of a training step, augmented if the config says so."""
        num_rows, indices = len(self.indices(step)), self.indices(step)[self.rows]
        if self.config.data.augment == "none":
            return self.evaluation(indices)
        store = self.problem.store
        if not self.is_photos:
            augment = augmentation_for(store, with_policy=self.policy is not None)
            draws = RowDraws(self.generator(step), num_rows, self.rows)
            augmented = augment(store.inputs(indices), draws)
            if self.policy is not None and store.kind != "vectors":
                augmented = self.by_policy(augmented.permute(0, 3, 1, 2), step).permute(0, 2, 3, 1)
            return self._resized(augmented)
        if self.on_device:
            return store.inputs(indices)
        colours = self.policy is None
        cropped = transforms_photo.augment_each(self._photos(indices), self.size, self.draws(step), colours=colours)
        return self.by_policy(cropped, step)

    @property
    def policy(self) -> str | None:
        """By which images are changed in place of the data set's own changes of colour, if by any."""
        name = str(self.config.data.augment)
        return None if name in ("none", "default") else name

    def by_policy(self, images: Tensor, step: int) -> Tensor:
        """The step's `images` uint8 [m, 3, H, W] changed by the policy, or as they are if there is none."""
        if self.policy is None:
            return images
        generator = torch.Generator().manual_seed(stream_seed(self.config.seed_at(step), step, POLICY))
        seeds = torch.randint(2**63 - 1, (len(self.indices(step)),), generator=generator)[self.rows]
        return by_policy(self.policy, images, seeds.tolist())

    def evaluation(self, indices: NDArray[np.int64]) -> Tensor:
        """Images as they are, at the delivered size."""
        store = self.problem.store
        if not self.is_photos:
            return self._resized(store.inputs(indices))
        if self.on_device:
            return store.inputs(indices)
        images = torch.empty((len(indices), 3, *self.size), dtype=torch.uint8)
        for image, pixels in zip(images, self._photos(indices), strict=True):
            image.copy_(resize(pixels, self.size, self.interpolation))
        return images

    def _photos(self, indices: NDArray[np.int64]) -> Iterator[Tensor]:
        """Photographs uint8 [3, h, w] in the size they are stored in."""
        store = self.problem.store
        if store.kind == "encoded":
            return decoded(store, indices)
        return (image.permute(2, 0, 1) for image in store.inputs(indices))

    def _resized(self, x: Tensor) -> Tensor:
        """Small images [m, h, w, 3] at the delivered size; vectors as they are."""
        if x.ndim == 2 or tuple(x.shape[1:3]) == self.size:
            return x
        return resize(x.permute(0, 3, 1, 2), self.size, self.interpolation).permute(0, 2, 3, 1)
