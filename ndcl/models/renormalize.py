"""Images normalised in one way, for weights that expect another."""

import torch
from torch import Tensor, nn


class Renormalize(nn.Module):
    """Images [n, 3, H, W] normalised in one way to those normalised in another."""

    scale: Tensor
    shift: Tensor

    def __init__(self, given: Tensor, wanted: Tensor) -> None:
        """`given` and `wanted` [2, 3]: mean and deviation of each colour."""
        super().__init__()
        (given_mean, given_std), (mean, std) = given.view(2, 3, 1, 1), wanted.view(2, 3, 1, 1)
        self.register_buffer("scale", given_std / std, persistent=False)
        self.register_buffer("shift", (given_mean - mean) / std, persistent=False)

    def add_channel(self) -> None:
        """Leave one more channel, the last, as it is."""
        self.scale = torch.cat([self.scale, torch.ones_like(self.scale[:1])])
        self.shift = torch.cat([self.shift, torch.zeros_like(self.shift[:1])])

    def forward(self, inputs: Tensor) -> Tensor:
        """The same images, normalised as wanted."""
        return inputs * self.scale + self.shift
