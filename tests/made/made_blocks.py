"""A backbone of blocks of several layers with dropout inside, as torchvision's are built, and as small as can be."""

from typing import cast

import torch
from torch import Tensor, nn

from ndcl.config import ModelConfig
from ndcl.models.backbone import Backbone, Stage


class Blocks(Backbone):
    """Vectors [n, F] -> [n, 8]: a layer, then two residual blocks."""

    def __init__(self, config: ModelConfig, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.num_features = 8
        self.input = nn.Linear(input_shape[0], 8)
        self.blocks = nn.Sequential(_Residual(config.dropout), _Residual(config.dropout))

    def forward(self, inputs: Tensor) -> Tensor:
        """Features of vectors."""
        return cast(Tensor, self.blocks(self.input(inputs)))

    def stages(self) -> list[Stage]:
        """The first layer, then the blocks."""
        return [[self.input], [self.blocks]]


class _Residual(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.Dropout(dropout), nn.ReLU(), nn.Linear(8, 8))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + torch.tanh(self.layers(inputs))
