"""Backbones by name, and the network that a config means: features, then a linear head."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import cast

import torch
from torch import nn

from ndcl.architectures import PRETRAINED
from ndcl.compatibility import require_fit
from ndcl.config import ModelConfig, TrainConfig
from ndcl.models.backbone import Backbone
from ndcl.models.context import put_in_context
from ndcl.models.network import Network
from ndcl.models.small import Linear, Mlp, SmallCnn
from ndcl.models.timm_backbone import TimmBackbone, timm_renormalization
from ndcl.models.torchvision_backbone import TorchvisionBackbone, renormalization
from ndcl.timm_models import is_timm

BACKBONES: dict[str, Callable[[ModelConfig, tuple[int, ...]], Backbone]] = {
    "small_cnn": SmallCnn,
    "linear": Linear,
    "mlp": Mlp,
    **{name: partial(TorchvisionBackbone, name) for name in PRETRAINED},
}
"""Name to what builds the backbone for inputs of a shape; those of timm have names of their own."""


def build_network(config: ModelConfig, input_shape: tuple[int, ...], num_classes: int, seed: int) -> Network:
    """The network for inputs of `input_shape` ((H, W, 3) or (F,)), initialised from `seed` alone, channels last.

    Its head is initialised from `config.head_seed`, if there is one.

    Raises UserError for an unknown backbone, weights that cannot be had or do not fit, inputs of the wrong kind or
    size, more frozen stages than there are.
    """
    require_fit(config, input_shape)
    builder = partial(TimmBackbone, config.backbone) if is_timm(config.backbone) else BACKBONES[config.backbone]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(builder(config, input_shape), num_classes, config)
        if config.head_seed is not None:
            torch.manual_seed(config.head_seed)
            cast(nn.Linear, network[1]).reset_parameters()
    return network.to(memory_format=torch.channels_last)


def network_of(config: TrainConfig, input_shape: tuple[int, ...], num_classes: int, num_domains: int) -> Network:
    """The network of a training on `num_domains` source domains, initialised from `config.seed` and the model's seeds.

    Raises UserError as `build_network` and `put_in_context` do.
    """
    network = build_network(config.model, input_shape, num_classes, config.seed)
    context, shared = config.algorithm.context, config.model.head_seed
    if context is not None:
        seed = config.seed if shared is None else shared
        put_in_context(network, input_shape, context, num_domains=num_domains, seed=seed)
    return network


def empty_network(config: ModelConfig, input_shape: tuple[int, ...], num_classes: int) -> Network:
    """The network of a training, for its state dict to be loaded into: `config`'s weights are not read.

    Raises UserError as `build_network` does.
    """
    unread = replace(config, weights="none", freeze_batchnorm=config.keeps_batchnorm)
    network = build_network(unread, input_shape, num_classes, seed=0)
    if config.weights != "none":  # what pretrained weights need of their inputs stands in no state dict
        wanted = timm_renormalization if is_timm(config.backbone) else renormalization
        cast(TorchvisionBackbone | TimmBackbone, network[0]).renormalize = wanted(config.backbone, input_shape[0])
    return network
