"""The order in which a tensor's numbers lie in memory.

Networks are channels last, and so are the gradients of their convolutions. A sum over the domains of such gradients, or
a copy in the order of their shape, takes several times as long as in the order in which they lie.
"""

from collections.abc import Sequence

from torch import Tensor


def memory_order(tensor: Tensor) -> tuple[int, ...]:
    """The dimensions of `tensor`, that of the largest step in memory first; so permuted a dense one is contiguous."""
    steps = tensor.stride()
    return tuple(sorted(range(tensor.dim()), key=lambda dimension: steps[dimension], reverse=True))


def original_order(order: Sequence[int]) -> tuple[int, ...]:
    """What brings a tensor permuted by `order` back to its shape."""
    return tuple(sorted(range(len(order)), key=lambda place: order[place]))
