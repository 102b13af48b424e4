"""Parts of a network: the repeated ones, which are computed again, compiled or sharded one by one, norms, attention."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def blocks(module: "nn.Module") -> "Iterator[nn.Module]":
    """The repeated parts of a backbone, outermost first: members of its sequences that are made of several layers.

    These are the residual blocks of torchvision's ResNets, the encoder blocks of its transformers, and so on.
    """
    from torch import nn

    for child in module.children():
        is_member = isinstance(module, nn.Sequential | nn.ModuleList) and type(child) is not nn.Sequential
        if is_member and any(True for _ in child.children()):
            yield child
        else:
            yield from blocks(child)


def norms(module: "nn.Module") -> "Iterator[nn.Module]":
    """Layers that normalise, and have a scale or a shift of their own."""
    for layer in module.modules():
        if "norm" in type(layer).__name__.lower() and any(True for _ in layer.parameters(recurse=False)):
            yield layer


def attention_weights(module: "nn.Module") -> "Iterator[tuple[nn.Module, str]]":
    """The weights of attention's linear layers: the module that has one, and its name there."""
    from torch import nn

    for layer in module.modules():
        kind = type(layer).__name__.lower()
        if "attention" in kind or "attn" in kind:
            if getattr(layer, "in_proj_weight", None) is not None:
                yield layer, "in_proj_weight"
            yield from ((child, "weight") for child in layer.children() if isinstance(child, nn.Linear))
