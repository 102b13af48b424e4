"""Which parameters of a backbone learn: all, none, those of its norms, or low-rank changes of its attention (LoRA)."""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ndcl.blocks import attention_weights, norms
from ndcl.config import ModelConfig


class LowRank(nn.Module):
    """A weight W [F, D] to W + alpha/r B A, of which B [F, r] and A [r, D] learn (Hu et al. 2022, arXiv 2106.09685).

    B begins at 0, so that the network begins as the pretrained one.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.scale = alpha / rank
        self.a_weight = nn.Parameter(torch.empty((rank, columns), dtype=weight.dtype, device=weight.device))
        self.b_weight = nn.Parameter(torch.zeros((rows, rank), dtype=weight.dtype, device=weight.device))
        nn.init.kaiming_uniform_(self.a_weight, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """The changed weight [F, D]."""
        return weight + self.scale * (self.b_weight @ self.a_weight)


def let_learn(backbone: nn.Module, config: ModelConfig) -> None:
    """Set which of the backbone's parameters learn, by `config.train`; with `lora` add those that do.

    Of a backbone that has neither norms nor attention nothing learns: `ndcl.compatibility.require_fit` refuses that.
    """
    if config.train == "all":
        return
    backbone.requires_grad_(False)
    if config.train == "norms":
        for layer in norms(backbone):
            for parameter in layer.parameters(recurse=False):
                parameter.requires_grad_(True)
    if config.train == "lora":
        for module, name in list(attention_weights(backbone)):
            change = LowRank(cast(Tensor, getattr(module, name)), config.lora_rank, config.lora_alpha)
            parametrize.register_parametrization(module, name, change)


def merge(network: nn.Module) -> None:
    """Make low-rank changes part of the weights, so that the network is one as if all had learned."""
    for module in list(network.modules()):
        if parametrize.is_parametrized(module):
            for name in list(cast(nn.ModuleDict, module.parametrizations)):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
