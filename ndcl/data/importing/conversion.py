"""Conversion of some items at once, and the digests by which equal ones are found."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndcl.data.importing.images import BadImageError, Content, Conversion, convert
from ndcl.data.importing.source import Item

DIGEST_BYTES = 16

Results = tuple[list[NDArray[Any] | bytes | None], list[bytes], list[str]]
"""Inputs, digests and faults, as in `Converted`."""


@dataclass(frozen=True, slots=True)
class Converted:
    """Some items in order, and what became of them. The lists are as long as `items`."""

    items: Sequence[Item]
    inputs: Sequence[NDArray[Any] | bytes | None]
    """Pixels [H, W, 3], a file, or a vector [F]; None where there is a fault."""
    digests: Sequence[bytes]
    """Of the content, DIGEST_BYTES each: equal for equal pixels, however they were encoded."""
    faults: Sequence[str]
    """Why an item can't be imported; empty if it can."""


def convert_all(contents: Sequence[Content | str], conversion: Conversion) -> Results:
    """Convert contents; a text among them is the fault that an item has already."""
    inputs: list[NDArray[Any] | bytes | None] = []
    digests, faults = [], []
    for content in contents:
        made, value, fault = (None, b"", content) if isinstance(content, str) else _convert(content, conversion)
        inputs.append(made)
        digests.append(value)
        faults.append(fault)
    return inputs, digests, faults


def unconverted(items: Sequence[Item]) -> Converted:
    """Items whose content is stored as it is."""
    inputs: list[Any] = [None if item.fault else item.content for item in items]
    digests = [b"" if content is None else digest(content) for content in inputs]
    return Converted(items, inputs, digests, [item.fault for item in items])


def digest(content: Any) -> bytes:
    """DIGEST_BYTES of an array's values."""
    return hashlib.blake2b(np.ascontiguousarray(content).data, digest_size=DIGEST_BYTES).digest()


def _convert(content: Content, conversion: Conversion) -> tuple[NDArray[Any] | bytes | None, bytes, str]:
    """Input, digest and fault."""
    try:
        pixels, file = convert(content, conversion)
    except BadImageError as error:
        return None, b"", str(error)
    return (pixels if file is None else file), digest(pixels), ""
