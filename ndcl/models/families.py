"""torchvision's architectures: where each family has its classifier, and what its stages are.

Names are those of modules and parameters inside of torchvision's networks.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ndcl.architectures import CONVNEXTS, EFFICIENTNETS, REGNETS, RESNETS, SWINS, VITS

StageNames = list[list[str]]


@dataclass(frozen=True, kw_only=True)
class Family:
    """What backbones of one architecture have in common."""

    names: tuple[str, ...]
    """In torchvision, and in a config."""
    head: str
    """The classifier: it gives way to this package's own, and its part of a state dict is left out."""
    stages: Callable[[nn.Module], StageNames]
    """Members of each stage of a network, which together hold all parameters but the classifier's."""


def build(name: str, image_size: int | None = None) -> nn.Module:
    """torchvision's network of that name with random weights, on whatever device is the default.

    `image_size` is that of vision transformers, if not their own.
    """
    import torchvision  # here, because importing it takes a second that small networks need not wait

    with _ArithmeticOnHost() if name.startswith("regnet") else nullcontext():
        return cast(
            nn.Module, torchvision.models.get_model(name, **({} if image_size is None else {"image_size": image_size}))
        )


class _ArithmeticOnHost(TorchFunctionMode):
    """Has RegNet's widths, which torchvision computes by tensors, computed on the host, also while building on meta."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        default = {"device": "cpu"} if func in (torch.arange, torch.tensor) else {}
        return func(*args, **default | (kwargs or {}))


def _resnet(network: nn.Module) -> StageNames:
    return [["conv1", "bn1"], ["layer1"], ["layer2"], ["layer3"], ["layer4"]]


def _regnet(network: nn.Module) -> StageNames:
    return [["stem"], *([f"trunk_output.block{number}"] for number in (1, 2, 3, 4))]


def _efficientnet(network: nn.Module) -> StageNames:
    return [[f"features.{name}"] for name, _ in network.get_submodule("features").named_children()]


def _pyramid(last_norm: str) -> Callable[[nn.Module], StageNames]:
    """Stem, then four times blocks, before the latter three of which the image is reduced."""
    stages = [["0"], ["1"], ["2", "3"], ["4", "5"], ["6", "7"]]
    names = [[f"features.{name}" for name in stage] for stage in stages]
    return lambda network: [*names[:-1], [*names[-1], last_norm]]


def _vit(network: nn.Module) -> StageNames:
    blocks = [f"encoder.layers.{name}" for name, _ in network.get_submodule("encoder.layers").named_children()]
    embedding = ["conv_proj", "class_token", "encoder.pos_embedding"]
    return [embedding, *([block] for block in blocks[:-1]), [blocks[-1], "encoder.ln"]]


FAMILIES = (
    Family(names=RESNETS, head="fc", stages=_resnet),
    Family(names=REGNETS, head="fc", stages=_regnet),
    Family(names=EFFICIENTNETS, head="classifier", stages=_efficientnet),
    Family(names=CONVNEXTS, head="classifier.2", stages=_pyramid(last_norm="classifier.0")),
    Family(names=SWINS, head="head", stages=_pyramid(last_norm="norm")),
    Family(names=VITS, head="heads", stages=_vit),
)
FAMILY_OF = {name: family for family in FAMILIES for name in family.names}
