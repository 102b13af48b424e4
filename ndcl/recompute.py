"""Activation checkpointing: what a block computed is thrown away and computed again when the gradient comes back.

Chen et al. 2016 (arXiv 1604.06174). The memory of activations is then that of the blocks' inputs and of one block, the
step takes one more forward pass. Gradients are the same.
"""

from collections.abc import Iterator
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from ndcl.dropout import RowKeys
from ndcl.errors import UserError
from ndcl.models import Network


def recompute_blocks(network: Network, dropped_by: RowKeys) -> None:
    """Let `network` keep no activations inside its blocks. Raises UserError for a network without blocks."""
    found = list(blocks(network[0]))
    if not found:
        raise UserError(
            "activation_checkpointing: this backbone has no blocks whose activations could be computed again; set it "
            "to false, or set micro_batch_size"
        )
    options = {"context_fn": dropped_by.as_now} if dropped_by.num_layers else {}
    for block in found:
        # on the instance, so that the names in the state dict stay as they are
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False, **options)


def blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The repeated parts of a backbone, outermost first: members of its sequences that are made of several layers.

    These are the residual blocks of torchvision's ResNets, the encoder blocks of its transformers, and so on.
    """
    for child in module.children():
        is_member = isinstance(module, nn.Sequential | nn.ModuleList) and type(child) is not nn.Sequential
        if is_member and any(True for _ in child.children()):
            yield child
        else:
            yield from blocks(child)
