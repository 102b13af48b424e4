"""A trained network with its normalisation, from raw inputs to logits: what all formats hold.

Legend: n images of H x W pixels or vectors of F features, K classes.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from ndcl.config import ModelConfig, Transform
from ndcl.features import SquareRoots, Standardized
from ndcl.models import empty_network, put_in_context_of
from ndcl.models.backbone import Backbone
from ndcl.serving.description import Inputs

State = dict[str, Tensor]


class Normalize(nn.Module):
    """Images uint8 [n, H, W, 3] as `ndcl.data.transforms.to_inputs` gives them, in a form that can be exported."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """`mean` and `std` of each colour, in [0, 1]."""
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """float32 [n, 3, H, W], channels last in memory."""
        pixels = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last)
        return (pixels - self.mean) / self.std


class Classifier(nn.Module):
    """uint8 images [n, H, W, 3] or float32 vectors [n, F] to logits [n, K]; always in evaluation mode."""

    def __init__(
        self,
        model: ModelConfig,
        inputs: Inputs,
        num_classes: int,
        state: State,
        standardized: bool,
        transform: Transform = "none",
    ) -> None:
        """`state` is the state dict of a training's network. Raises RuntimeError if it does not fit."""
        super().__init__()
        self.normalize = Normalize(inputs.mean, inputs.std) if inputs.mean and inputs.std else nn.Identity()
        self.network = empty_network(model, inputs.shape, num_classes)
        put_in_context_of(self.network, inputs.shape, state)
        if standardized:
            nothing = torch.zeros(inputs.shape)
            self.network[0] = Standardized(cast(Backbone, self.network[0]), nothing, nothing.clone())
        if transform == "sqrt":
            self.network[0] = SquareRoots(cast(Backbone, self.network[0]))
        self.network.load_state_dict(state)
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits."""
        return cast(Tensor, self.network(self.normalize(inputs)))

    def state(self) -> dict[str, Any]:
        """What the constructor needs as `state`."""
        return self.network.state_dict()
