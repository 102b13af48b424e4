"""Inputs of a data set as an evaluation gives them to a network: of its size, neither augmented nor normalised.

Legend: m inputs of H x W pixels or F features.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ndcl.architectures import Interpolation
from ndcl.data.store.decoding import resize
from ndcl.data.store.store import Store, decode_to


def delivered(store: Store, rows: NDArray[np.int64], shape: tuple[int, ...], interpolation: Interpolation) -> Tensor:
    """The inputs at `rows` [m]: uint8 [m, H, W, 3] of the `shape` (H, W, 3), or vectors float32 [m, F]."""
    if store.kind == "vectors":
        return store.inputs(rows)
    size = (shape[0], shape[1])
    if store.kind == "encoded":
        return decode_to(store, rows, size, interpolation)
    pixels = store.inputs(rows).permute(0, 3, 1, 2)
    return resize(pixels, size, interpolation).permute(0, 2, 3, 1)
