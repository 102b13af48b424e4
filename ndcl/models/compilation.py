"""Compilation of a network block by block, so that gradients come out of the backward pass block by block, too.

A network that is compiled as one gives all its gradients at the end of its backward pass: nothing of their exchange
between workers could happen meanwhile, and a network in parts would have to be whole. Blocks that are built alike are
compiled once.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ndcl.blocks import blocks
from ndcl.compatibility import COMPILED_PARTS
from ndcl.errors import UserError
from ndcl.models.network import Network

MAX_VARIANTS = 1024
"""Of one class of blocks: each shape of parameters, in training and in evaluation, with and without a gradient. Above
torch's own bound, 8, blocks would silently stay as they are."""


def compile_blocks(network: Network) -> None:
    """Have the blocks of `network` compiled when they are first used, or its backbone, if it has none.

    Names in the state dict stay as they are.
    """
    import torch._dynamo.config as config  # which takes seconds

    config.recompile_limit = max(config.recompile_limit, MAX_VARIANTS)
    config.accumulated_recompile_limit = max(config.accumulated_recompile_limit, MAX_VARIANTS)
    for region in list(blocks(network[0])) or [network[0]]:
        # the method and not the module, whose hooks stay outside: FSDP2's gather parameters
        region.forward = _for_any_number_of_rows(torch.compile(region.forward, dynamic=False))


def require_compilable(network: Network, *, in_parts: bool) -> None:
    """Raise UserError if `network` has no blocks, but is to be spread over workers unit by unit."""
    if in_parts and not any(True for _ in blocks(network[0])):
        raise UserError(COMPILED_PARTS)


def of_any_length(rows: Tensor) -> Tensor:
    """`rows`, for which what is compiled is to take any number of them."""
    torch._dynamo.maybe_mark_dynamic(rows, 0)
    return rows


def _for_any_number_of_rows(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Rows differ from pass to pass; all other sizes are those of the block, and so is what else it is given."""

    def forward_rows(inputs: Tensor, *others: object, **named: object) -> Tensor:
        return forward(of_any_length(inputs), *others, **named)

    return forward_rows
