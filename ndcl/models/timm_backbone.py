"""Backbones of timm: any of its networks that gives a vector of features for an image."""

from operator import attrgetter
from typing import Any, cast

import torch
from torch import Tensor, nn

from ndcl.config import ModelConfig
from ndcl.data.transforms import normalization
from ndcl.errors import UserError
from ndcl.models.backbone import Backbone, Stage
from ndcl.models.renormalize import Renormalize
from ndcl.models.timm_weights import read_timm_weights
from ndcl.timm_models import build, stage_names, timm_model


class TimmBackbone(Backbone):
    """A network of timm without its classifier: [n, 3, H, W] -> [n, num_features]."""

    def __init__(self, name: str, config: ModelConfig, input_shape: tuple[int, ...]) -> None:
        """Raises UserError for a network, an image size or weights that are not to be had, or do not fit."""
        super().__init__()
        self.num_features = timm_model(name).num_features
        size = (input_shape[0], input_shape[1])
        self.renormalize: nn.Module = nn.Identity()
        if config.weights == "none":
            self.backbone = build(name, size, stochastic_depth=config.stochastic_depth)
        else:
            self.backbone = _with_weights(name, size, config)
            self.renormalize = timm_renormalization(name, size[0])
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        """Features of images [n, 3, H, W]."""
        return cast(Tensor, self.dropout(self.backbone(self.renormalize(inputs))))

    def stages(self) -> list[Stage]:
        """Those of timm's own matcher of parameters: in a transformer every block is one."""
        names = stage_names(self.backbone)
        stage_of = {name: number for number, stage in enumerate(names) for name in stage}
        stages: list[Stage] = [[] for _ in names]
        for number, member in _members(self.backbone, stage_of, ""):
            stages[number].append(member)
        return stages


def timm_renormalization(name: str, height: int) -> nn.Module:
    """What the weights of `name` need of images of that height, as they are delivered: nothing, in most cases."""
    found = timm_model(name)
    given, wanted = torch.tensor(normalization(height)), torch.tensor((found.mean, found.std))
    return nn.Identity() if torch.equal(given, wanted) else Renormalize(given, wanted)


def _with_weights(name: str, size: tuple[int, int], config: ModelConfig) -> nn.Module:
    weights = config.weights
    state = read_timm_weights(name, weights)
    if not state:  # timm would look for weights itself
        raise UserError(f"model.weights: '{weights}' is empty; give the state dict of '{name}'")
    try:
        return build(name, size, state, config.stochastic_depth)
    except (
        RuntimeError,
        KeyError,
        ValueError,
        AttributeError,
        AssertionError,
        IndexError,
    ) as error:  # each family has its own
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"model.weights: '{weights}' does not fit the backbone '{name}': {reason}") from None


def _members(module: nn.Module, stage_of: dict[str, int], prefix: str) -> Any:
    """Number of the stage of each of the largest modules that lie in one, and of the parameters between them.

    A parameter that several modules share is named, and so has a stage, in the first alone.
    """
    for name, parameter in module.named_parameters(recurse=False):
        if prefix + name in stage_of:
            yield stage_of[prefix + name], parameter
    for name, child in module.named_children():
        inside = {stage_of.get(f"{prefix}{name}.{below}") for below, _ in child.named_parameters()}
        if inside == {None}:
            continue
        if len(inside) == 1:
            yield inside.pop(), attrgetter(name)(module) if "." in name else child
        elif inside:
            yield from _members(child, stage_of, f"{prefix}{name}.")
