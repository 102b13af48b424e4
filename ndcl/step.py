"""The loss of one step and its gradient: exact on any number of workers, and in micro-batches.

W workers, N rows of a batch, M rows mixed from them, K classes. A loss sees the logits of all rows, [N, K] and [M, K],
and nothing else of the network. So a step has three parts: the logits, each worker those of its rows; the loss and its
gradient at the logits, which every worker works out in full, from the same numbers; and that gradient's way back
through the network, each worker for its rows. A parameter's gradient is then the sum over rows of what one row gives,
and so the sum of the workers' gradients: no factor, whatever the loss averages over. docs/scaling.md has the maths.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ndcl.algorithms import Algorithm, Loss
from ndcl.batch import Batch, to_device
from ndcl.config import TrainConfig
from ndcl.dropout import row_keys, use_row_dropout
from ndcl.errors import UserError
from ndcl.exchange import Exchange, mix
from ndcl.gradients import GradientSum
from ndcl.losses import full_precision
from ndcl.mixing import MixupPlan
from ndcl.models import Network
from ndcl.parallel import Group
from ndcl.recompute import recompute_blocks
from ndcl.sharding import is_sharded


@dataclass(frozen=True)
class _Pass:
    """One pass of a batch's rows, or of those mixed from it, through the network."""

    logits: Tensor
    """[N or M, K] of all workers' rows: a leaf, since its gradient is asked for."""
    pieces: list[tuple[slice, Callable[[], Tensor]]]
    """Which of all rows a piece of this worker's is, and what gives its logits with a graph: kept, or made anew."""


class Step:
    """Steps of one algorithm on one network, up to the optimiser's.

    With `micro_batch_size` m no more than m rows are in the network at once. Their logits are worked out first without
    a graph, and once the gradient at the logits is known they go through the network again, with one. The gradient is
    the same. Activations need the memory of one micro-batch; the step takes one more forward pass, 4/3 of the usual
    time if a backward pass takes as long as two forward passes.
    """

    def __init__(
        self, network: Network, algorithm: Algorithm, config: TrainConfig, num_classes: int, group: Group
    ) -> None:
        """Prepares `network`: dropout by rows, and gradients that are summed over the workers of `group`.

        Raises UserError for BatchNorm that is not frozen where it would not see the whole batch, or would see it twice,
        and for activation checkpointing of a network without blocks.
        """
        self._network, self._algorithm, self._group = network, algorithm, group
        self._precision, self._rows_at_once, self._seed = config.precision, config.micro_batch_size, config.seed
        if group.is_several or self._rows_at_once is not None or config.activation_checkpointing:
            _require_frozen_batchnorm(network)
        self._dropped_by = use_row_dropout(network)
        if config.activation_checkpointing:
            recompute_blocks(network, self._dropped_by)
        like = full_precision(next(network.parameters()).detach())
        self._no_logits = torch.empty((0, num_classes), dtype=like.dtype, device=like.device)
        self._is_sharded = is_sharded(config, group)
        self._sum = GradientSum(network.parameters(), group) if group.is_several and not self._is_sharded else None

    def gradient(self, batch: Batch, step: int) -> Loss:
        """Set the parameters' gradients to those of the loss of `batch`, the same on all workers, and return the loss.

        All workers must call it, each with its own rows' inputs.
        """
        algorithm, layout = self._algorithm, batch.layout
        exchange = Exchange(self._group, batch) if algorithm.mixes(layout) else None
        passes = [self._pass(layout.num_rows, self._network, lambda part: batch.inputs[part], step, mixed=False)]
        plan = algorithm.plan(passes[0].logits, layout, step)
        if plan is not None:
            assert exchange is not None, "an algorithm that plans without saying so beforehand"
            passes.append(self._mixed_pass(plan, exchange, step))
        loss = algorithm.loss(passes[0].logits, layout, passes[1].logits if len(passes) > 1 else None, plan)
        self._go_back(passes, torch.autograd.grad(loss.total, [each.logits for each in passes]))
        return loss

    def _mixed_pass(self, plan: MixupPlan, exchange: Exchange, step: int) -> _Pass:
        inputs, own = exchange.inputs_for(plan)
        network = self._network.forward_mixed
        return self._pass(len(plan), network, lambda part: mix(own.of(part), inputs), step, mixed=True)

    def _pass(
        self,
        total: int,
        network: Callable[[Tensor], Tensor],
        inputs: Callable[[slice], Tensor],
        step: int,
        mixed: bool,
    ) -> _Pass:
        """Pass this worker's share of `total` rows forwards; `inputs` gives those of some of the share."""
        own = self._group.share.rows(total)
        forward = self._forward(network, inputs, self._keys(total, own, step, mixed))
        num_rows = own.stop - own.start
        # passes through a sharded network are collectives: all workers make as many
        parts = _parts(num_rows, self._group.share.longest(total) if self._is_sharded else num_rows, self._rows_at_once)
        with torch.set_grad_enabled(self._rows_at_once is None):
            values = [forward(part) for part in parts]
        logits = self._group.gather(torch.cat([self._no_logits, *(value.detach() for value in values)]), total)
        graphs = [
            partial(forward, part) if self._rows_at_once else _kept(value)
            for part, value in zip(parts, values, strict=True)
        ]
        places = [slice(own.start + part.start, own.start + part.stop) for part in parts]
        return _Pass(logits.requires_grad_(), list(zip(places, graphs, strict=True)))

    def _keys(self, total: int, own: slice, step: int, mixed: bool) -> Tensor | None:
        if self._dropped_by.num_layers == 0:
            return None
        return to_device(row_keys(self._seed, step, mixed, total)[own], self._no_logits.device)

    def _forward(
        self, network: Callable[[Tensor], Tensor], inputs: Callable[[slice], Tensor], keys: Tensor | None
    ) -> Callable[[slice], Tensor]:
        """What gives the logits of a part of this worker's rows."""

        def forward(part: slice) -> Tensor:
            rows = inputs(part)
            self._dropped_by.now = None if keys is None else _at_least_one(keys[part])
            with autocast(rows.device, self._precision):
                return full_precision(network(_at_least_one(rows))[: len(rows)])

        return forward

    def _go_back(self, passes: Sequence[_Pass], gradients: Sequence[Tensor]) -> None:
        """Propagate the gradients at the logits back to the parameters, and sum those of all workers."""
        pieces = [
            (graph, gradient[rows])
            for each, gradient in zip(passes, gradients, strict=True)
            for rows, graph in each.pieces
        ]
        # all at once, if all graphs are there: each parameter's gradient is then complete as early as can be. Not if
        # the parameters are gathered for each graph, which is over when its own way back is
        in_turn = self._rows_at_once or self._is_sharded
        turns = [[piece] for piece in pieces] if in_turn else [pieces] if pieces else []
        self._clear()
        for number, turn in enumerate(turns, start=1):
            if self._sum is not None and number == len(turns):
                self._sum.expect_last_backward()
            torch.autograd.backward([graph() for graph, _ in turn], [gradient for _, gradient in turn])
        if self._sum is not None:
            self._sum.finish()

    def _clear(self) -> None:
        if self._sum is None:
            self._network.zero_grad(set_to_none=True)
        else:
            self._sum.clear()


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Where a network computes in `precision`, fp32 or bf16; to be left before it is entered again.

    What it caches of a forward without graph would cut the graph of the next.
    """
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def _parts(num_rows: int, longest: int, rows_at_once: int | None) -> list[slice]:
    """Pieces of `num_rows` rows, as many as `longest` rows have: the last may be empty."""
    size = rows_at_once or max(longest, 1)
    return [slice(min(start, num_rows), min(start + size, num_rows)) for start in range(0, longest, size)]


def _at_least_one(rows: Tensor) -> Tensor:
    """`rows` [m, ...], or a row of zeros if there is none."""
    return rows if len(rows) else rows.new_zeros((1, *rows.shape[1:]))


def _kept(logits: Tensor) -> Callable[[], Tensor]:
    return lambda: logits


def _require_frozen_batchnorm(network: Network) -> None:
    if any(layer.training for layer in network.train().batchnorms):
        raise UserError(
            "model.freeze_batchnorm: false works with one worker only, without micro_batch_size and without "
            "activation_checkpointing, because BatchNorm must see the whole batch once; set it to true"
        )
