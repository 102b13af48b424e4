"""Batches of a training and inputs of an evaluation, prepared by worker processes ahead of their use.

What a batch holds depends on the seed and the step alone: not on the number of workers, nor on where a run resumes.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ndcl.batch import WHOLE, Batch, Layout, Share
from ndcl.config import TrainConfig
from ndcl.data.inputs import augments_on_gpu
from ndcl.data.loading.preparation import Job, Preparation
from ndcl.data.loading.sampler import DomainSampler
from ndcl.data.loading.workers import Workers, keep_freed_memory, number_of_workers
from ndcl.data.problem import Problem
from ndcl.data.store.decoding import resize
from ndcl.data.transforms import to_inputs
from ndcl.data.transforms_photo import Draws, augment_batch

EVALUATION_ROWS = 512
"""Inputs in one part of an evaluation, if they are small."""
EVALUATION_BYTES = 2**24
"""Larger inputs come in parts of about this size."""


class Loader:
    """Batches of a training. Worker processes start when first needed and stay until `close`."""

    def __init__(
        self,
        problem: Problem,
        sampler: DomainSampler,
        config: TrainConfig,
        device: torch.device,
        share: Share = WHOLE,
    ) -> None:
        """With a share of several, a batch has the inputs of this share and the labels of all rows.

        Raises UserError if images cannot be augmented where the config says.
        """
        self.device = device
        self._exchanged = share.world_size > 1
        on_gpu = augments_on_gpu(problem.store, config.data, on_gpu=device.type == "cuda")
        self._preparation = Preparation(problem, sampler, config, on_device=on_gpu, share=share)
        self.num_workers = number_of_workers(self._preparation, device)
        self._workers: Workers | None = None

    def batches(self, first_step: int, last_step: int) -> Iterator[Batch]:
        """The batches of the steps from `first_step` until before `last_step`.

        On a GPU a batch is copied and augmented while the step before it computes.
        """
        steps = range(first_step, last_step)
        staged = (self._stage(step, images) for step, images in zip(steps, self._prepared(steps), strict=True))
        return _on_side_stream(staged, self.device) if self.device.type == "cuda" else staged

    def batch(self, step: int) -> Batch:
        """The batch of one step, prepared by this process."""
        return self._stage(step, self._preparation[step])

    def evaluation_inputs(self, indices: NDArray[np.int64]) -> Iterator[Tensor]:
        """What the network is given for the store's `indices` [n], in parts [m, ...]; nothing is augmented."""
        rows = evaluation_rows(self._preparation, on_gpu=self.device.type == "cuda")
        parts = [indices[start : start + rows] for start in range(0, len(indices), rows)]
        for images in self._prepared(parts):
            yield to_inputs(self._finish(images, None))

    def close(self) -> None:
        """End the worker processes; they start again when needed."""
        self._workers = None

    def _prepared(self, jobs: Sequence[Job]) -> Iterator[Tensor]:
        if self.num_workers == 0:
            return (self._preparation[job] for job in jobs)
        if self._workers is None:
            if self.device.type == "cpu":
                keep_freed_memory()  # this process makes and frees a large batch in each step, too
            self._workers = Workers(self._preparation, self.num_workers, pin_memory=self.device.type == "cuda")
        return self._workers.run(jobs)

    def _stage(self, step: int, images: Tensor) -> Batch:
        """The batch of a step on the device, from what was prepared for it."""
        preparation, problem = self._preparation, self._preparation.problem
        indices = preparation.indices(step)
        domains = np.repeat(np.arange(len(problem.train)), preparation.config.batch_size)
        layout = Layout.of(problem.store.labels[indices], domains, self.device)
        on_device = preparation.on_device and preparation.config.data.augment != "none"
        draws = preparation.draws(step) if on_device else None
        finished = self._finish(images, draws, step)
        pixels = finished if self._exchanged and finished.dtype == torch.uint8 else None
        return Batch(inputs=to_inputs(finished), layout=layout, pixels=pixels)

    def _finish(self, images: Tensor, draws: Draws | None, step: int = 0) -> Tensor:
        """Do on the device what is left: crop and augment by `draws`, or resize, if left to it. uint8 [m, H, W, 3]."""
        images = _to_device(images, self.device)
        if not self._preparation.is_photos:
            return images
        if draws is not None:
            colours = self._preparation.policy is None
            images = augment_batch(images, self._preparation.size, draws, colours=colours)
            images = self._preparation.by_policy(images, step)
        elif self._preparation.on_device:
            images = resize(images.permute(0, 3, 1, 2), self._preparation.size, self._preparation.interpolation)
        return images.permute(0, 2, 3, 1)


def _to_device(images: Tensor, device: torch.device) -> Tensor:
    """Copy without waiting for the device, which takes pinned memory."""
    if device.type == "cuda" and not images.is_pinned():
        images = images.pin_memory()
    return images.to(device, non_blocking=True)


def evaluation_rows(preparation: Preparation, *, on_gpu: bool) -> int:
    """Inputs in one part of an evaluation. On a GPU as many as a step has in the network at once, if that is more.

    So many fit, since without a graph they need less memory than the step's, and they fill the GPU as a step does.
    """
    by_size = max(1, min(EVALUATION_ROWS, EVALUATION_BYTES // preparation.input_bytes))
    in_a_step = preparation.rows.stop - preparation.rows.start
    at_once = min(in_a_step, preparation.config.micro_batch_size or in_a_step)
    return max(by_size, at_once) if on_gpu else by_size


def _on_side_stream(staged: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches of `staged`, whose work on the GPU is queued beside the training's.

    The next batch is asked for once the step of the last is queued, and so made while that step computes.
    """
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    while True:
        with torch.cuda.stream(side):
            batch = next(staged, None)
        if batch is None:
            return
        current = torch.cuda.current_stream(device)
        current.wait_stream(side)
        for tensor in (batch.inputs, batch.pixels, *vars(batch.layout).values()):
            if isinstance(tensor, Tensor):
                tensor.record_stream(current)  # so that its memory is not reused before the step has read it
        yield batch
