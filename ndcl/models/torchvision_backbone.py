"""Backbones of torchvision, with its ImageNet weights or others of the same architecture."""

from operator import attrgetter
from typing import cast

import torch
from torch import Tensor, nn

from ndcl.config import ModelConfig
from ndcl.data.transforms import normalization
from ndcl.errors import UserError
from ndcl.models.backbone import Backbone, Stage
from ndcl.models.families import FAMILY_OF, Family, build
from ndcl.models.weights import imagenet_entry, load_body, read_weights


class TorchvisionBackbone(Backbone):
    """A torchvision network without its classifier: [n, 3, H, W] -> [n, num_features]."""

    def __init__(self, name: str, config: ModelConfig, input_shape: tuple[int, ...]) -> None:
        """Raises UserError for inputs that it does not take, or weights that cannot be had or do not fit."""
        super().__init__()
        self._family = FAMILY_OF[name]
        _require_images(self._family, config, input_shape)
        self.backbone = build(name)
        classifier = self.backbone.get_submodule(self._family.head)
        self.num_features = next(m.in_features for m in classifier.modules() if isinstance(m, nn.Linear))
        self.backbone.set_submodule(self._family.head, nn.Identity())
        self.renormalize: nn.Module = nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        if config.weights != "none":
            load_body(self.backbone, read_weights(name, config.weights), self._family.head, config.weights)
            self.renormalize = renormalization(name, height=input_shape[0])

    def forward(self, inputs: Tensor) -> Tensor:
        """Features of images [n, 3, H, W]."""
        return cast(Tensor, self.dropout(self.backbone(self.renormalize(inputs))))

    def stages(self) -> list[Stage]:
        """The stem or embedding, then the stages of the architecture; in a ViT every block is one."""
        names = self._family.stages(self.backbone)
        return [[attrgetter(member)(self.backbone) for member in stage] for stage in names]


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

    def forward(self, inputs: Tensor) -> Tensor:
        """The same images, normalised as wanted."""
        return inputs * self.scale + self.shift


def renormalization(name: str, height: int) -> nn.Module:
    """What the weights of `name` need of images of that height, as they are delivered: nothing, in most cases."""
    transforms = imagenet_entry(name).transforms()
    given, wanted = torch.tensor(normalization(height)), torch.tensor((transforms.mean, transforms.std))
    return nn.Identity() if torch.equal(given, wanted) else Renormalize(given, wanted)


def _require_images(family: Family, config: ModelConfig, input_shape: tuple[int, ...]) -> None:
    """Raise UserError unless the backbone takes inputs of that shape."""
    if len(input_shape) != 3:
        raise UserError(
            f"model.backbone: '{config.backbone}' needs images, got inputs of shape {input_shape}; "
            "use 'linear' or 'mlp'"
        )
    size = config.image_size
    if family.exact_size and input_shape[:2] != (size, size):
        raise UserError(
            f"data.image_size: '{config.backbone}' takes images of {size} x {size} alone, got {input_shape[0]} x "
            f"{input_shape[1]}; remove it, or set it to {size}"
        )
    if min(input_shape[:2]) < family.least_size:
        raise UserError(
            f"data.image_size: '{config.backbone}' needs images of at least {family.least_size} x {family.least_size}, "
            f"got {input_shape[0]} x {input_shape[1]}; set it to that or more"
        )
