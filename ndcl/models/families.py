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
    least_size: int = 1
    """Height and width below which nothing is left of an image before the last stage."""
    exact_size: bool = False
    """Whether images must have the size of `ndcl.input_sizes`, for which positions are learned."""


def build(name: str) -> nn.Module:
    """torchvision's network of that name with random weights, on whatever device is the default."""
    import torchvision  # here, because importing it takes a second that small networks need not wait

    with _ArithmeticOnHost() if name.startswith("regnet") else nullcontext():
        return cast(nn.Module, torchvision.models.get_model(name))


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


_REGNET_X = ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf")
_REGNET_Y = (*_REGNET_X, "128gf")

FAMILIES = (
    Family(
        names=(
            *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
            *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
        ),
        head="fc",
        stages=_resnet,
    ),
    Family(
        names=(*(f"regnet_x_{size}" for size in _REGNET_X), *(f"regnet_y_{size}" for size in _REGNET_Y)),
        head="fc",
        stages=_regnet,
    ),
    Family(
        names=(*(f"efficientnet_b{size}" for size in range(8)), *(f"efficientnet_v2_{size}" for size in "sml")),
        head="classifier",
        stages=_efficientnet,
    ),
    Family(
        names=tuple(f"convnext_{size}" for size in ("tiny", "small", "base", "large")),
        head="classifier.2",
        stages=_pyramid(last_norm="classifier.0"),
        least_size=32,
    ),
    Family(
        names=(*(f"swin_{size}" for size in "tsb"), *(f"swin_v2_{size}" for size in "tsb")),
        head="head",
        stages=_pyramid(last_norm="norm"),
    ),
    Family(
        names=("vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14"),
        head="heads",
        stages=_vit,
        exact_size=True,
    ),
)
FAMILY_OF = {name: family for family in FAMILIES for name in family.names}
