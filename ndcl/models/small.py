"""Networks for small images and for feature vectors, which need no weights but those of the seed."""

import math
from typing import cast

import torch
from torch import Tensor, nn

from ndcl.config import ModelConfig
from ndcl.models.backbone import Backbone, Stage


class SmallCnn(Backbone):
    """Three convolutions, each halving the image, for images of about 28 x 28: [n, 3, H, W] -> [n, 64 (H/8) (W/8)].

    Without normalisation layers, which cost as much as the convolutions at this size, and without global pooling, which
    would give away where in a digit its strokes lie.
    """

    def __init__(self, config: ModelConfig, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        height, width, channels = input_shape
        self.num_features = 64 * (height // 8) * (width // 8)
        self.layers = nn.Sequential(*_convolution(channels, 16), *_convolution(16, 32), *_convolution(32, 64))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        """Features of images [n, 3, H, W]."""
        return cast(Tensor, self.dropout(self.layers(inputs).flatten(1)))

    def stages(self) -> list[Stage]:
        """The convolutions."""
        return [[layer] for layer in self.layers if isinstance(layer, nn.Conv2d)]


class Linear(Backbone):
    """The inputs themselves, flattened, so that the network is its linear head: [n, ...] -> [n, F]."""

    def __init__(self, config: ModelConfig, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.num_features = math.prod(input_shape)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs [n, ...] as vectors."""
        return cast(Tensor, self.dropout(inputs.flatten(1)))

    def stages(self) -> list[Stage]:
        """None."""
        return []


class Mlp(Backbone):
    """Linear layers with ReLU and dropout between, none after the last: [n, ...] -> [n, mlp_width]."""

    def __init__(self, config: ModelConfig, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        width = self.num_features = config.mlp_width
        self.input = nn.Linear(math.prod(input_shape), width)
        self.hiddens = nn.ModuleList(nn.Linear(width, width) for _ in range(config.mlp_depth - 2))
        self.output = nn.Linear(width, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        """Features of inputs [n, ...], flattened."""
        hidden = torch.relu(self.dropout(self.input(inputs.flatten(1))))
        for layer in self.hiddens:
            hidden = torch.relu(self.dropout(layer(hidden)))
        return cast(Tensor, self.output(hidden))

    def stages(self) -> list[Stage]:
        """The linear layers."""
        return [[layer] for layer in (self.input, *self.hiddens, self.output)]


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    # pooling first gives the same values as ReLU first, at a quarter of ReLU's cost
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(inplace=True)]
