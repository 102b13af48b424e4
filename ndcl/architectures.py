"""What each backbone is and takes, known without torch, since a plan asks it of every model and torch takes seconds.

A test compares all of it with the networks themselves, and image sizes with the crop sizes of the transforms that
torchvision gives with each backbone's ImageNet weights.
"""

from dataclasses import dataclass
from typing import Literal

Interpolation = Literal["bilinear", "bicubic"]
"""How images are brought to a network's size."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Facts of one backbone."""

    needs_images: bool = True
    takes_weights: bool = True
    image_size: int | None = None
    """Height and width that it was made for; None: any, at most 224 x 224."""
    least_size: int = 1
    """Height and width below which nothing is left of an image before the last stage."""
    interpolation: Interpolation = "bilinear"
    """By which images are resized for it."""
    patch_size: int | None = None
    """Height and width of the patches that a square image must be made of, for whose positions something is learned."""
    num_stages: int | None = 5
    """Before the head; None: as many as the config's `mlp_depth`."""
    has_batchnorm: bool = False
    has_norms: bool = True
    """Whether it has layers that normalise, with a scale or a shift that learns."""
    has_attention: bool = False
    """Whether linear layers of attention are among its own."""
    has_blocks: bool = True
    """Whether it repeats parts whose activations can be computed again."""
    has_stochastic_depth: bool = False
    """Whether it leaves out blocks at random in training; of a network of timm that has to be tried."""


_REGNET_X = ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf")
_REGNET_Y = (*_REGNET_X, "128gf")
RESNETS = (
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
)
REGNETS = (*(f"regnet_x_{size}" for size in _REGNET_X), *(f"regnet_y_{size}" for size in _REGNET_Y))
CONVNEXTS = tuple(f"convnext_{size}" for size in ("tiny", "small", "base", "large"))

_EFFICIENTNET_SIZES = {
    **{f"b{number}": size for number, size in enumerate((224, 240, 288, 300, 380, 456, 528, 600))},
    **{"v2_s": 384, "v2_m": 480, "v2_l": 480},
}
_VIT_DEPTHS = {"vit_b_16": 12, "vit_b_32": 12, "vit_l_16": 24, "vit_l_32": 24, "vit_h_14": 32}

_EFFICIENTNETS = {
    f"efficientnet_{name}": Architecture(
        image_size=size, num_stages=8 if name == "v2_s" else 9, has_batchnorm=True, has_stochastic_depth=True
    )
    for name, size in _EFFICIENTNET_SIZES.items()
}
_SWINS = {
    **{f"swin_{size}": Architecture(image_size=224, has_attention=True, has_stochastic_depth=True) for size in "tsb"},
    **{
        f"swin_v2_{size}": Architecture(image_size=256, has_attention=True, has_stochastic_depth=True) for size in "tsb"
    },
}
_VITS = {
    name: Architecture(image_size=224, patch_size=int(name[-2:]), num_stages=depth + 1, has_attention=True)
    for name, depth in _VIT_DEPTHS.items()
}
EFFICIENTNETS, SWINS, VITS = tuple(_EFFICIENTNETS), tuple(_SWINS), tuple(_VITS)

ARCHITECTURES: dict[str, Architecture] = {
    "small_cnn": Architecture(takes_weights=False, least_size=8, num_stages=3, has_norms=False, has_blocks=False),
    "linear": Architecture(needs_images=False, takes_weights=False, num_stages=0, has_norms=False, has_blocks=False),
    "mlp": Architecture(needs_images=False, takes_weights=False, num_stages=None, has_norms=False, has_blocks=False),
    **dict.fromkeys((*RESNETS, *REGNETS), Architecture(has_batchnorm=True)),
    **_EFFICIENTNETS,
    **dict.fromkeys(CONVNEXTS, Architecture(least_size=32, has_stochastic_depth=True)),
    **_SWINS,
    **_VITS,
}
"""By name, in the order of docs/backbones.md."""
PRETRAINED = tuple(name for name, architecture in ARCHITECTURES.items() if architecture.takes_weights)
"""Backbones that take `weights`."""

NAMED = "IMAGENET1K_"
"""How torchvision's names of weights begin."""
_SWAG_SIZES = {"vit_l_16": 512, "vit_h_14": 518}
_SWAG = ("regnet_y_16gf", "regnet_y_32gf", "regnet_y_128gf", "vit_b_16", "vit_l_16", "vit_h_14")
_WITH_V2 = (
    *("resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d", "efficientnet_b1"),
    *(name for name in REGNETS if name != "regnet_y_128gf"),
)


def named_weights(backbone: str) -> dict[str, int | None]:
    """torchvision's weights of a backbone by name: the image size that they were made for, None as the backbone's."""
    names = {"IMAGENET1K_V1"} if backbone in PRETRAINED and backbone not in ("vit_h_14", "regnet_y_128gf") else set()
    names |= {"IMAGENET1K_V2"} if backbone in _WITH_V2 else set()
    found: dict[str, int | None] = dict.fromkeys(sorted(names))
    if backbone in _SWAG:
        found |= {"IMAGENET1K_SWAG_E2E_V1": _SWAG_SIZES.get(backbone, 384), "IMAGENET1K_SWAG_LINEAR_V1": None}
    return found


def is_known_weights(weights: str) -> bool:
    """Whether a value of `model.weights` is a name and not the path of a file."""
    return weights in ("none", "imagenet", "pretrained") or weights.startswith(NAMED)
