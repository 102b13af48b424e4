"""Which images train, validate and test: the release's split, as a pure function of labels and a seed."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ndcl.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Split:
    """Disjoint positions within one domain; together all of them."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def split_domain(
    labels: NDArray[np.int64], counts: NDArray[np.int64], validation: NDArray[np.int64] | int, seed: int
) -> Split:
    """Split one domain by class: of each class k, `counts[k]` images train, `validation` validate, the rest tests.

    `labels` [n] are the classes of the domain's images, `counts` [K]; `validation` is one number for all classes or
    [K]. Each class is shuffled by a separate legacy RandomState(seed), as in the release. A class may be used up
    whole. Raises UserError, naming the class id, if a class has too few images.
    """
    counts = np.asarray(counts)
    held_out = np.broadcast_to(validation, counts.shape)
    parts: list[list[NDArray[np.int64]]] = [[], [], []]
    for k, (count, held) in enumerate(zip(counts.tolist(), held_out.tolist(), strict=True)):
        images = np.flatnonzero(labels == k)
        if count + held > len(images):
            raise UserError(f"class {k} has {len(images)} images; {count} to train and {held} to validate are too many")
        np.random.RandomState(seed).shuffle(images)
        for part, piece in zip(parts, np.split(images, [count, count + held]), strict=True):
            part.append(piece)
    train, validate, test = (np.concatenate(part) for part in parts)
    return Split(train=train, validation=validate, test=test)


def seed_hash(*numbers: int) -> int:
    """A seed from several numbers: md5 of the text of the tuple, modulo 2^31, as in the release."""
    return int(hashlib.md5(str(numbers).encode(), usedforsecurity=False).hexdigest(), 16) % 2**31
