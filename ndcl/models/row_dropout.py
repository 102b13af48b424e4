"""Dropout that does not depend on who computes a row, nor with which others: a row's mask follows from its key alone.

So W workers, micro-batches and a forward that is repeated drop what one forward of the whole batch drops. A mask is a
hash of the row's key, the layer and the position; nothing is drawn from torch's generators.
Legend: m rows in a forward, F numbers in each.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ndcl.seeds import DROPOUT

_LOW_32_BITS = 2**32 - 1


class RowKeys:
    """The keys of the rows that are in the network now; all RowDropout layers of a network share one."""

    def __init__(self) -> None:
        self.num_layers = 0
        self.now: Tensor | None = None
        """[m] int64 in [0, 2^32), set before each training forward."""

    def as_now(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Contexts for a forward now, and for the same one again when other rows may have been in the network."""
        return nullcontext(), self._again(self.now)

    @contextmanager
    def _again(self, keys: Tensor | None) -> Iterator[None]:
        later, self.now = self.now, keys
        try:
            yield
        finally:
            self.now = later


class RowDropout(nn.Dropout):
    """Dropout of single numbers, or of whole rows (stochastic depth), by the rows' keys. Rates are those of `nn`."""

    def __init__(self, p: float, keys: RowKeys, whole_rows: bool = False) -> None:
        super().__init__(p)
        self.keys, self.whole_rows = keys, whole_rows
        self.layer = keys.num_layers
        keys.num_layers += 1

    def forward(self, input: Tensor) -> Tensor:
        """`input` [m, ...]; as it is in evaluation mode."""
        if not self.training:
            return input
        assert self.keys.now is not None, "the keys of the rows must be set before a forward in training mode"
        num_positions = 1 if self.whole_rows else input[0].numel()
        columns = _hash(torch.arange(num_positions, device=input.device) + (self.layer << 24))
        kept = _hash(self.keys.now[:, None] + columns & _LOW_32_BITS) >= round(self.p * 2**32)
        shape = (len(input), *(1 for _ in input.shape[1:])) if self.whole_rows else input.shape
        return input * (kept.to(input.dtype) / (1 - self.p)).view(shape)


def use_row_dropout(network: nn.Module) -> RowKeys:
    """Replace the network's dropout and the stochastic depth of torchvision and timm, where their rates are not 0."""
    keys = RowKeys()
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            rate, whole_rows = _rate(child)
            if rate > 0:
                setattr(parent, name, RowDropout(rate, keys, whole_rows))
    return keys


def row_keys(seed: int, step: int, mixed: bool, num_rows: int) -> NDArray[np.int64]:
    """Keys [num_rows] of the rows of a step, the real or the generated ones."""
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, step, DROPOUT, int(mixed)])))
    return generator.integers(2**32, size=num_rows)


def _rate(module: nn.Module) -> tuple[float, bool]:
    """Rate of a module that drops something, and whether it drops whole rows; 0 for any other module."""
    if type(module) is nn.Dropout:
        return module.p, False
    if type(module).__name__ == "StochasticDepth":  # by name: torchvision takes a second to import
        return cast(float, module.p), True
    if type(module).__name__ == "DropPath":  # the same of timm
        return cast(float, module.drop_prob), True
    return 0.0, False


def _hash(x: Tensor) -> Tensor:
    """Mix the bits of 32-bit numbers held in int64 (the finaliser of MurmurHash3, Appleby 2011)."""
    x = (x ^ (x >> 16)) * 0x85EBCA6B & _LOW_32_BITS
    x = (x ^ (x >> 13)) * 0xC2B2AE35 & _LOW_32_BITS
    return x ^ (x >> 16)
