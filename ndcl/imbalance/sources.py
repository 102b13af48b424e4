"""The source domains as a setting sees them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class SourceCounts:
    """S source domains (all but `target`) and the images of K classes that may train, validation images taken off."""

    target: str
    domains: tuple[str, ...]
    classes: tuple[str, ...]
    available: NDArray[np.int64]
    """[S, K]"""
