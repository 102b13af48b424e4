"""Activation checkpointing: what a block computed is thrown away and computed again when the gradient comes back.

Chen et al. 2016 (arXiv 1604.06174). The memory of activations is then that of the blocks' inputs and of one block, the
step takes one more forward pass. Gradients are the same.
"""

from functools import partial

from torch.utils.checkpoint import checkpoint

from ndcl.blocks import blocks
from ndcl.compatibility import NO_BLOCKS
from ndcl.errors import UserError
from ndcl.models.network import Network
from ndcl.models.row_dropout import RowKeys


def recompute_blocks(network: Network, dropped_by: RowKeys) -> None:
    """Let `network` keep no activations inside its blocks. Raises UserError for a network without blocks."""
    found = list(blocks(network[0]))
    if not found:
        raise UserError(NO_BLOCKS)
    options = {"context_fn": dropped_by.as_now} if dropped_by.num_layers else {}
    for block in found:
        # on the instance, so that the names in the state dict stay as they are
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False, **options)
