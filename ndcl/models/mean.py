"""The mean of several networks' weights, which is one network."""

from collections.abc import Mapping

import torch
from torch import Tensor


class MeanState:
    """The mean of the state dicts that were added, one at a time; two copies of a network in memory.

    Of numbers that are not floating point, such as BatchNorm's count of batches, the first network's are kept. What is
    alike in all networks is exactly so in the mean.
    """

    def __init__(self) -> None:
        self.size = 0
        """Networks added."""
        self._first: dict[str, Tensor] = {}
        self._sums: dict[str, Tensor] = {}

    def add(self, state: Mapping[str, Tensor]) -> None:
        """Add a network by its state dict, of the same names and shapes as the first; each is copied."""
        if self.size == 0:
            self._first = {name: value.detach().clone() for name, value in state.items()}
            self._sums = {
                name: torch.zeros_like(value, dtype=torch.float64)
                for name, value in state.items()
                if value.is_floating_point()
            }
        assert state.keys() == self._first.keys(), "networks of other layers have no mean"
        for name, total in self._sums.items():
            total += state[name].detach()
        self.size += 1

    def state(self) -> dict[str, Tensor]:
        """The state dict of the mean, each value of its first network's type."""
        means = {name: (total / self.size).to(self._first[name].dtype) for name, total in self._sums.items()}
        return self._first | means
