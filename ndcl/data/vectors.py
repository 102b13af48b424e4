"""What is done to feature vectors before a network sees them, and which vectors allow it.

Legend: n vectors of F features.
"""

from typing import TYPE_CHECKING

import numpy as np

from ndcl.config import Transform
from ndcl.data.inputs import require_vectors
from ndcl.data.store import Store
from ndcl.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

_ROWS = 4096
"""Vectors in memory at once."""


def transformed(vectors: "Tensor", transform: Transform) -> "Tensor":
    """Vectors [n, F] as a network takes them; with `sqrt` what is below 0 counts as 0."""
    return vectors.clamp(min=0).sqrt() if transform == "sqrt" else vectors


def require_transformable(store: Store) -> None:
    """Raise UserError if `store` holds images, or a feature whose square root is no number."""
    require_vectors(store, "transform")
    for start in range(0, len(store), _ROWS):
        lowest = float(store.inputs(np.arange(start, min(start + _ROWS, len(store)))).min())
        if lowest < 0:
            raise UserError(
                f"data.transform: sqrt takes features that are never negative, and {store.name} has one of "
                f"{lowest:.4g}; set it to none"
            )
