"""A batch and the layout of its labels: everything about classes and domains that the host knows beforehand.

N rows of a batch (domain-major), K classes, D source domains, C classes present, T prototypes.
Deriving sizes, masks and offsets from the host's copy of the labels keeps every shape in a step known without asking
the device: no step waits for it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(array: NDArray[np.generic], device: torch.device) -> Tensor:
    """Copy a host array to `device` without waiting for the device."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Classes and domains of a batch's rows, on the host and on the device.

    What follows from labels and domains is worked out when it is first asked for: plain cross-entropy needs little of
    it, and on feature vectors a step is so short that the rest would be a third of it.
    """

    host_labels: NDArray[np.int64]
    """[N] class id of each row."""
    host_domains: NDArray[np.int64]
    """[N] source domain of each row."""
    device: torch.device
    """Where the tensors are."""

    @classmethod
    def of(cls, labels: NDArray[np.int64], domains: NDArray[np.int64], device: torch.device) -> "Layout":
        """Lay out `labels` [N] and `domains` [N], both int64 on the host."""
        return cls(host_labels=labels, host_domains=domains, device=device)

    @property
    def num_rows(self) -> int:
        """N."""
        return len(self.host_labels)

    @property
    def num_classes_present(self) -> int:
        """C."""
        return len(self.host_classes)

    @property
    def num_domains(self) -> int:
        """D: source domains, of which every batch has the same number of rows."""
        return int(self.host_domains.max(initial=-1)) + 1

    @property
    def num_prototypes(self) -> int:
        """T."""
        return len(self._prototypes[1])

    @property
    def host_classes(self) -> NDArray[np.int64]:
        """[C] class ids present, ascending."""
        return self._classes[0]

    @property
    def host_slots(self) -> NDArray[np.int64]:
        """[N] index of each row's class in `host_classes`."""
        return self._classes[1]

    @property
    def host_sizes(self) -> NDArray[np.int64]:
        """[C] rows of each present class."""
        return self._classes[2]

    @cached_property
    def labels(self) -> Tensor:
        """[N] int64."""
        return to_device(self.host_labels, self.device)

    @cached_property
    def domains(self) -> Tensor:
        """[N] int64."""
        return to_device(self.host_domains, self.device)

    @cached_property
    def same_class(self) -> Tensor:
        """[N, N] bool: rows of the same class, itself included."""
        return self.labels[:, None] == self.labels[None, :]

    @cached_property
    def same_domain(self) -> Tensor:
        """[N, N] bool: rows of the same source domain, itself included."""
        return self.domains[:, None] == self.domains[None, :]

    @cached_property
    def not_itself(self) -> Tensor:
        """[N, N] bool: all but the diagonal."""
        return ~torch.eye(self.num_rows, dtype=torch.bool, device=self.device)

    def by_domain(self, values: Tensor) -> Tensor:
        """`values` [N, ...] of the rows as [D, N/D, ...]: rows are domain-major, and as many of each domain."""
        return values.view(self.num_domains, -1, *values.shape[1:])

    @cached_property
    def class_size(self) -> Tensor:
        """[N] float64: rows in the batch of each row's class."""
        return to_device(self.host_sizes[self.host_slots].astype(np.float64), self.device)

    @cached_property
    def averaging(self) -> Tensor:
        """[T, N] float64: row t averages the batch rows of prototype t; only classes present in at least 2 domains."""
        return to_device(self._prototypes[0], self.device)

    @cached_property
    def prototype_class(self) -> Tensor:
        """[T] int64."""
        return to_device(self._prototypes[1], self.device)

    @cached_property
    def prototype_weight(self) -> Tensor:
        """[T] float64: 1 / (number of such classes x prototypes of the class); sums to 1."""
        return to_device(self._prototypes[2], self.device)

    @cached_property
    def _classes(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        classes, slots, sizes = np.unique(self.host_labels, return_inverse=True, return_counts=True)
        return classes, slots.reshape(-1), sizes

    @cached_property
    def _prototypes(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
        return _prototypes(self.host_labels, self.host_domains)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Inputs and the layout of their labels; of several workers each has its own rows' inputs, and all labels."""

    inputs: Tensor
    """[N, ...] float; of several workers each worker's share of them."""
    layout: Layout
    pixels: Tensor | None = None
    """[N, H, W, 3] uint8 that the inputs were made from, or the worker's share: a quarter of their bytes. Only kept
    where workers exchange them."""


def _prototypes(
    labels: NDArray[np.int64], domains: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Averaging matrix [T, N], class [T] and weight [T] of the (domain, class) pairs of shared classes."""
    num_domains = int(domains.max(initial=0)) + 1
    pairs, pair_of_row, pair_sizes = np.unique(labels * num_domains + domains, return_inverse=True, return_counts=True)
    pair_class = pairs // num_domains
    _, slot, num_domains_of_class = np.unique(pair_class, return_inverse=True, return_counts=True)
    kept = num_domains_of_class[slot] >= 2
    onehot = pair_of_row.reshape(-1)[None, :] == np.flatnonzero(kept)[:, None]
    shared_classes = int((num_domains_of_class >= 2).sum())
    weight = 1.0 / (max(shared_classes, 1) * num_domains_of_class[slot][kept])
    return onehot / pair_sizes[kept][:, None], pair_class[kept], weight


@dataclass(frozen=True, kw_only=True)
class Share:
    """Which of many rows are a worker's: about a W-th of them, in one piece."""

    rank: int = 0
    world_size: int = 1
    """W."""

    def rows(self, total: int) -> slice:
        """The worker's rows of `total`; sizes differ by one at most, and may be 0."""
        return slice(self.rank * total // self.world_size, (self.rank + 1) * total // self.world_size)

    def longest(self, total: int) -> int:
        """Rows of the largest share."""
        return -(-total // self.world_size)


WHOLE = Share()
"""The share of a single process."""
