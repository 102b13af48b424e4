"""A batch and the layout of its labels: everything about classes and domains that the host knows beforehand.

N rows of a batch (domain-major), K classes, D source domains, C classes present, T prototypes.
Deriving sizes, masks and offsets from the host's copy of the labels keeps every shape in a step known without asking
the device: no step waits for it.
"""

from dataclasses import dataclass

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
    """Classes and domains of a batch's rows, on the host and on the device."""

    host_labels: NDArray[np.int64]
    """[N] class id of each row."""
    host_classes: NDArray[np.int64]
    """[C] class ids present, ascending."""
    host_slots: NDArray[np.int64]
    """[N] index of each row's class in `host_classes`."""
    host_sizes: NDArray[np.int64]
    """[C] rows of each present class."""
    labels: Tensor
    """[N] int64."""
    domains: Tensor
    """[N] int64."""
    same_class: Tensor
    """[N, N] bool: rows of the same class, itself included."""
    class_size: Tensor
    """[N] float64: rows in the batch of each row's class."""
    averaging: Tensor
    """[T, N] float64: row t averages the batch rows of prototype t; only classes present in at least 2 domains."""
    prototype_class: Tensor
    """[T] int64."""
    prototype_weight: Tensor
    """[T] float64: 1 / (number of such classes x prototypes of the class); sums to 1."""

    @property
    def num_rows(self) -> int:
        """N."""
        return len(self.host_labels)

    @property
    def num_classes_present(self) -> int:
        """C."""
        return len(self.host_classes)

    @property
    def num_prototypes(self) -> int:
        """T."""
        return len(self.prototype_class)

    @classmethod
    def of(cls, labels: NDArray[np.int64], domains: NDArray[np.int64], device: torch.device) -> "Layout":
        """Lay out `labels` [N] and `domains` [N], both int64 on the host."""
        classes, slots, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        averaging, prototype_class, prototype_weight = _prototypes(labels, domains)
        device_labels = to_device(labels, device)
        return cls(
            host_labels=labels,
            host_classes=classes,
            host_slots=slots.reshape(-1),
            host_sizes=sizes,
            labels=device_labels,
            domains=to_device(domains, device),
            same_class=device_labels[:, None] == device_labels[None, :],
            class_size=to_device(sizes[slots.reshape(-1)].astype(np.float64), device),
            averaging=to_device(averaging, device),
            prototype_class=to_device(prototype_class, device),
            prototype_weight=to_device(prototype_weight, device),
        )


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Inputs and the layout of their labels."""

    inputs: Tensor
    """[N, ...] float."""
    layout: Layout


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
