"""Small networks that algorithms own, initialised from the training's seed alone."""

from collections.abc import Callable
from typing import TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Built = TypeVar("Built", bound=nn.Module)


def seeded(seed: int, build: Callable[[], Built]) -> Built:
    """What `build` builds, with the random numbers of `seed`; others are left as they are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


class Discriminator(nn.Module):
    """Linear layers with ReLU between: [n, num_inputs] -> [n, num_outputs]."""

    def __init__(self, num_inputs: int, width: int, depth: int, num_outputs: int) -> None:
        super().__init__()
        self.input = nn.Linear(num_inputs, width)
        self.hiddens = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 2))
        self.output = nn.Linear(width, num_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores of each row."""
        hidden = F.relu(self.input(inputs))
        for layer in self.hiddens:
            hidden = F.relu(layer(hidden))
        return cast(Tensor, self.output(hidden))
