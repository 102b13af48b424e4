"""The loss and its terms, summed over the steps since the last evaluation."""

from typing import Any

import torch
from torch import Tensor

from ndcl.algorithms import Loss


class LossSums:
    """Sums from which the means of an interval follow. They go into a checkpoint that is made between evaluations."""

    def __init__(self, first_step: int) -> None:
        """`first_step`: how many steps were done when the interval began."""
        self.first_step = first_step
        self._sums: dict[str, Tensor] = {}
        self._host_sums: dict[str, float] = {}

    @property
    def total(self) -> Tensor:
        """The sum of the loss itself, a scalar."""
        return self._sums["total"]

    def add(self, loss: Loss) -> None:
        """Add one step's loss."""
        for name, value in loss.terms.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        for name, number in loss.host_terms.items():
            self._host_sums[name] = self._host_sums.get(name, 0.0) + number

    def means(self, step: int) -> dict[str, float]:
        """The mean of each term over the steps up to `step`."""
        number = step - self.first_step
        values = torch.stack([value.double() for value in self._sums.values()]).tolist()
        means = {name: value / number for name, value in zip(self._sums, values, strict=True)}
        return means | {name: value / number for name, value in self._host_sums.items()}

    def to_state(self) -> dict[str, Any]:
        """What a checkpoint holds of them."""
        return {"first_step": self.first_step, "sums": dict(self._sums), "host_sums": dict(self._host_sums)}

    @classmethod
    def from_state(cls, state: dict[str, Any], device: torch.device) -> "LossSums":
        """The sums that `to_state` gave, to be continued on `device`."""
        sums = cls(state["first_step"])
        sums._sums = {name: value.to(device) for name, value in state["sums"].items()}
        sums._host_sums = dict(state["host_sums"])
        return sums
