"""Backbones of torchvision, with its ImageNet weights or others of the same architecture."""

from collections import OrderedDict
from operator import attrgetter
from typing import Any, cast

import torch
from torch import Tensor, nn

from ndcl.architectures import ARCHITECTURES
from ndcl.config import ModelConfig
from ndcl.data.transforms import normalization
from ndcl.models.backbone import Backbone, Stage
from ndcl.models.families import FAMILY_OF, build
from ndcl.models.group_norm import use_group_norm
from ndcl.models.renormalize import Renormalize
from ndcl.models.weights import State, imagenet_entry, load_body, read_weights


class TorchvisionBackbone(Backbone):
    """A torchvision network without its classifier: [n, 3, H, W] -> [n, num_features]."""

    def __init__(self, name: str, config: ModelConfig, input_shape: tuple[int, ...]) -> None:
        """Raises UserError for weights that cannot be had or do not fit."""
        super().__init__()
        self._family = FAMILY_OF[name]
        self.backbone = build(name, _size_of(name, input_shape))
        if config.stochastic_depth is not None:
            _set_stochastic_depth(self.backbone, config.stochastic_depth)
        if config.norm == "group":
            use_group_norm(self.backbone)
        classifier = self.backbone.get_submodule(self._family.head)
        self.num_features = next(m.in_features for m in classifier.modules() if isinstance(m, nn.Linear))
        self.backbone.set_submodule(self._family.head, nn.Identity())
        self.renormalize: nn.Module = nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        if config.weights != "none":
            state = _with_positions(self.backbone, read_weights(name, config.weights))
            load_body(self.backbone, state, self._family.head, config.weights)
            self.renormalize = renormalization(name, height=input_shape[0])

    def forward(self, inputs: Tensor) -> Tensor:
        """Features of images [n, 3, H, W]."""
        return cast(Tensor, self.dropout(self.backbone(self.renormalize(inputs))))

    def stages(self) -> list[Stage]:
        """The stem or embedding, then the stages of the architecture; in a ViT every block is one."""
        names = self._family.stages(self.backbone)
        return [[attrgetter(member)(self.backbone) for member in stage] for stage in names]


def _set_stochastic_depth(network: nn.Module, rate: float) -> None:
    """Have the last block left out at `rate`, those before it in proportion as torchvision has it."""
    layers: list[Any] = [module for module in network.modules() if type(module).__name__ == "StochasticDepth"]
    deepest = max(layer.p for layer in layers)
    for layer in layers:
        layer.p = rate * (layer.p / deepest)


def _size_of(name: str, input_shape: tuple[int, ...]) -> int | None:
    """Height and width for which positions are to be learned, if that is not the architecture's own."""
    facts = ARCHITECTURES[name]
    return input_shape[0] if facts.patch_size and input_shape[0] != facts.image_size else None


def _with_positions(network: nn.Module, state: State) -> State:
    """`state` with the positions of a vision transformer interpolated for the size of `network`."""
    positions = state.get("encoder.pos_embedding")
    own = dict(network.named_parameters()).get("encoder.pos_embedding")
    if positions is None or own is None or positions.shape == own.shape:
        return state
    from torchvision.models.vision_transformer import interpolate_embeddings

    try:
        return dict(interpolate_embeddings(network.image_size, network.patch_size, OrderedDict(state)))
    except ValueError:  # of another width, or no square of positions: said when it is loaded
        return state


def renormalization(name: str, height: int) -> nn.Module:
    """What the weights of `name` need of images of that height, as they are delivered: nothing, in most cases."""
    transforms = imagenet_entry(name).transforms()
    given, wanted = torch.tensor(normalization(height)), torch.tensor((transforms.mean, transforms.std))
    return nn.Identity() if torch.equal(given, wanted) else Renormalize(given, wanted)
