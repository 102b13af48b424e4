"""Backbones by name, and the network that a config means: features, then a linear head."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import cast

import torch

from ndcl.config import ModelConfig
from ndcl.errors import UserError, unknown_name
from ndcl.models.backbone import Backbone
from ndcl.models.families import FAMILY_OF
from ndcl.models.network import Network, frozen_stages
from ndcl.models.small import Linear, Mlp, SmallCnn
from ndcl.models.torchvision_backbone import TorchvisionBackbone, renormalization

__all__ = ["BACKBONES", "PRETRAINED", "Network", "build_network", "empty_network", "require_fit"]

PRETRAINED = tuple(FAMILY_OF)
"""Backbones that take `weights`."""

BACKBONES: dict[str, Callable[[ModelConfig, tuple[int, ...]], Backbone]] = {
    "small_cnn": SmallCnn,
    "linear": Linear,
    "mlp": Mlp,
    **{name: partial(TorchvisionBackbone, name) for name in PRETRAINED},
}
"""Name to what builds the backbone for inputs of a shape."""


def build_network(config: ModelConfig, input_shape: tuple[int, ...], num_classes: int, seed: int) -> Network:
    """The network for inputs of `input_shape` ((H, W, 3) or (F,)), initialised from `seed` alone, channels last.

    Raises UserError for an unknown backbone, weights that cannot be had or do not fit, inputs of the wrong kind or
    size, more frozen stages than there are.
    """
    _require_known(config)
    if config.weights != "none" and config.backbone not in PRETRAINED:
        raise UserError(
            f"model.weights: '{config.backbone}' takes no weights; set none, or use a backbone of torchvision, such as "
            "resnet50 (docs/backbones.md)"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(BACKBONES[config.backbone](config, input_shape), num_classes, config)
    return network.to(memory_format=torch.channels_last)


def empty_network(config: ModelConfig, input_shape: tuple[int, ...], num_classes: int) -> Network:
    """The network of a training, for its state dict to be loaded into: `config`'s weights are not read.

    Raises UserError as `build_network` does.
    """
    network = build_network(replace(config, weights="none"), input_shape, num_classes, seed=0)
    if config.weights != "none":  # what pretrained weights need of their inputs stands in no state dict
        cast(TorchvisionBackbone, network[0]).renormalize = renormalization(config.backbone, input_shape[0])
    return network


def require_fit(config: ModelConfig, input_shape: tuple[int, ...]) -> None:
    """Raise UserError if there is no such backbone, or it does not take inputs of `input_shape`.

    Costs no memory and reads no weights: a plan asks this for each of its models.
    """
    _require_known(config)
    with torch.device("meta"):
        backbone = BACKBONES[config.backbone](replace(config, weights="none"), input_shape)
    frozen_stages(backbone, config)


def _require_known(config: ModelConfig) -> None:
    if config.backbone not in BACKBONES:
        raise UserError(f"model.backbone: {unknown_name('backbone', config.backbone, BACKBONES)}")
