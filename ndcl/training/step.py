"""The loss of one step and its gradient: exact on any number of workers, and in micro-batches.

W workers, N rows of a batch, M rows made from them, K classes, P features. A loss sees the outputs of all rows, logits
[N, K] and [M, K] and where it asks for them features [N, P], and nothing else of the network. So a step has three
parts: the outputs, each worker those of its rows; the loss and its gradient at the outputs, which every worker works
out in full, from the same numbers; and that gradient's way back through the network, each worker for its rows. A
parameter's gradient is then the sum over rows of what one row gives, and so the sum of the workers' gradients: no
factor, whatever the loss averages over. docs/scaling.md has the maths.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ndcl.algorithms import Algorithm, Loss, Rows
from ndcl.batch import Batch, Layout, to_device
from ndcl.compatibility import BATCHNORM_IN_PIECES, WHOLE_BATCH, in_pieces
from ndcl.config import TrainConfig
from ndcl.errors import UserError
from ndcl.losses import full_precision
from ndcl.mixing import MixupPlan
from ndcl.models import Network
from ndcl.models.activation_checkpointing import recompute_blocks
from ndcl.models.compilation import compile_blocks, of_any_length, require_compilable
from ndcl.models.row_dropout import row_keys, use_row_dropout
from ndcl.parallel import Group
from ndcl.parallel.gradient_sum import GradientSum
from ndcl.parallel.mixup_inputs import Exchange, mix
from ndcl.parallel.sharding import is_sharded


@dataclass(frozen=True)
class _Pass:
    """One pass of a batch's rows, or of those mixed from it, through the network."""

    outputs: Tensor
    """Logits [N or M, K] of all workers' rows, or with features beside them [N, K + P]: a leaf, since its gradient is
    asked for."""
    pieces: list["_Piece"]


@dataclass(frozen=True)
class _Piece:
    """Rows of this worker that are in the network together."""

    rows: slice
    """Of all rows of the pass."""
    outputs: Callable[[], Tensor]
    """Gives them with a graph: the kept ones, or made anew."""
    is_kept: bool


class Step:
    """Steps of one algorithm on one network, up to the optimiser's.

    With `micro_batch_size` m no more than m rows are in the network at once. Their logits are worked out first without
    a graph, and once the gradient at the logits is known they go through the network again, with one. The gradient is
    the same. Activations need the memory of one micro-batch; the step takes one more forward pass, 4/3 of the usual
    time if a backward pass takes as long as two forward passes. The rows that come last, up to m, keep their graph and
    go back first: with m rows or fewer in a step nothing is repeated.
    """

    def __init__(
        self, network: Network, algorithm: Algorithm, config: TrainConfig, num_classes: int, group: Group
    ) -> None:
        """Prepares `network`: dropout by rows, and gradients that are summed over the workers of `group`.

        Raises UserError for BatchNorm that is not frozen where it would not see the whole batch, or would see it twice,
        and for activation checkpointing, or compilation of a network in parts, without blocks.
        """
        self._network, self._algorithm, self._group = network, algorithm, group
        self._precision, self._rows_at_once, self._seed_at = config.precision, config.micro_batch_size, config.seed_at
        if group.is_several and config.algorithm.context is not None:
            raise UserError(WHOLE_BATCH.format(name=config.algorithm.name))
        if group.is_several or in_pieces(config):
            _require_frozen_batchnorm(network)
        if config.compile:
            require_compilable(network, in_parts=is_sharded(config, group))
        self._dropped_by, self._compiles = use_row_dropout(network), config.compile
        if config.compile:
            compile_blocks(network)
        if config.activation_checkpointing:  # around what is compiled, which so keeps nothing either
            recompute_blocks(network, self._dropped_by)
        like = full_precision(next(network.parameters()).detach())
        self._no_logits = torch.empty((0, num_classes), dtype=like.dtype, device=like.device)
        self._is_sharded = is_sharded(config, group)
        self._trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._sum = GradientSum(network.parameters(), group) if group.is_several and not self._is_sharded else None

    def gradient(self, batch: Batch, step: int, part: Algorithm | None = None) -> Loss:
        """Set the gradients of the network, and of what the algorithm owns, to those of the loss of `batch`.

        They are the same on all workers, which all must call it, each with its own rows' inputs. The network has none
        after a step that is not its own. Of an algorithm with `parts` the loss is that of one of them. Returns the
        loss.
        """
        algorithm = part or self._algorithm
        if algorithm.combines_domains:
            return self._gradient_by_domain(algorithm, batch, step)
        num_made = algorithm.num_made(batch.layout)
        if num_made and algorithm.mixes_features:
            return self._gradient_of_made_features(algorithm, batch, step)
        with self._network.giving("both" if algorithm.sees_features else "logits"):
            return self._gradient(algorithm, batch, step, num_made)

    def _gradient(self, algorithm: Algorithm, batch: Batch, step: int, num_made: int) -> Loss:
        layout = batch.layout
        trains = algorithm.trains_network(step)
        pairs = algorithm.pairs(layout, step)
        exchange = Exchange(self._group, batch) if num_made or pairs is not None else None
        if pairs is None:
            passes = [self._real_pass(batch, num_made, step, keeps_graph=trains)]
        else:
            assert exchange is not None
            passes = [self._made_pass(pairs, exchange, step, self._network, mixed=False)]
        rows = self._rows(algorithm, passes[0].outputs, layout, step)
        plan = pairs if pairs is not None else algorithm.plan(rows)
        if plan is not None and pairs is None:
            assert exchange is not None, "an algorithm that plans without saying so beforehand"
            assert isinstance(plan, MixupPlan), "an algorithm that makes rows of inputs by another plan than mixup's"
            assert len(plan) == num_made, "an algorithm that plans other rows than it said"
            passes.append(self._made_pass(plan, exchange, step, self._network.forward_mixed, mixed=True))
        if plan is not None:
            rows = replace(rows, made=plan, made_logits=passes[1].outputs if len(passes) > 1 else None)
        loss = algorithm.loss(rows)
        gradients = self._at_outputs(algorithm, loss.total, [each.outputs for each in passes] if trains else [])
        self._clear()
        if trains:
            self._go_back(passes, gradients)
        return loss

    def _rows(self, algorithm: Algorithm, outputs: Tensor, layout: Layout, step: int) -> Rows:
        """What the algorithm sees of the `outputs` [N, K], or [N, K + P], of all rows."""
        num_classes = self._no_logits.shape[1]
        head = self._network.head_weights() if algorithm.sees_head else None
        if outputs.shape[1] == num_classes:
            return Rows(logits=outputs, layout=layout, step=step, head=head)
        logits, features = outputs[:, :num_classes], outputs[:, num_classes:]
        return Rows(logits=logits, features=features, layout=layout, step=step, head=head)

    def _at_outputs(self, algorithm: Algorithm, total: Tensor, outputs: Sequence[Tensor]) -> list[Tensor]:
        """The gradients of `total` at the outputs; those of the parameters that the algorithm owns are set."""
        own = [parameter for parameter in algorithm.parameters() if parameter.requires_grad]
        if not (outputs or own):
            return []
        found = torch.autograd.grad(total, [*outputs, *own], allow_unused=True)
        for parameter, gradient in zip(own, found[len(outputs) :], strict=True):
            # whole in memory, which fused optimisers take for granted
            parameter.grad = None if gradient is None else gradient.contiguous()
        return [
            torch.zeros_like(each) if gradient is None else gradient
            for each, gradient in zip(outputs, found[: len(outputs)], strict=True)
        ]

    def _gradient_of_made_features(self, algorithm: Algorithm, batch: Batch, step: int) -> Loss:
        """As `gradient`, with rows made from the features: the head sees them, the backbone does not.

        Each worker makes its share of the rows, from the features of all. What it so learns of a feature's gradient is
        summed over the workers, and goes back through the backbone with that at the logits.
        """
        layout, num_classes = batch.layout, self._no_logits.shape[1]
        with self._network.giving("both"):
            real = self._real_pass(batch, 0, step)
        seen = self._rows(algorithm, real.outputs, layout, step)
        plan = algorithm.plan(seen)
        assert plan is not None, "an algorithm that says how many rows it makes and then makes none"
        share, features = self._group.share.rows(len(plan)), real.outputs.detach()[:, num_classes:].requires_grad_()
        with autocast(features.device, self._precision):
            own = full_precision(self._network.head(_at_least_one(plan.of(share).mixed(features))))
        own = own[: share.stop - share.start]
        made = self._group.gather(own.detach(), len(plan)).requires_grad_()
        loss = algorithm.loss(replace(seen, made=plan, made_logits=made))
        gradient, at_made = self._at_outputs(algorithm, loss.total, [real.outputs, made])
        self._clear()
        torch.autograd.backward([own], [at_made[share]])
        at_features = torch.zeros_like(features) if features.grad is None else features.grad
        if self._group.is_several:
            self._group.start_sum(at_features)()
        gradient[:, num_classes:] += at_features
        with self._network.giving("both"):
            self._go_back([real], [gradient])
        return loss

    def _gradient_by_domain(self, algorithm: Algorithm, batch: Batch, step: int) -> Loss:
        """As `gradient`, with the algorithm's rule on the gradients of the source domains' risks.

        Rows are domain-major, and a risk's gradient is 0 at the rows of other domains. So where each row goes through
        the network alone, each domain's rows are a piece of their own, and all go back once, not once a domain.
        """
        layout, per_domain = batch.layout, batch.layout.num_rows // batch.layout.num_domains
        is_apart = not any(layer.training for layer in self._network.batchnorms)
        edges = range(0, layout.num_rows, per_domain) if is_apart else ()
        real = self._real_pass(batch, 0, step, edges=edges)
        loss = algorithm.loss(self._rows(algorithm, real.outputs, layout, step))
        assert loss.by_domain is not None, "an algorithm that combines domains without their risks"
        gradients: list[list[Tensor]] = []
        for domain, risk in enumerate(loss.by_domain):
            own = slice(domain * per_domain, (domain + 1) * per_domain)
            [at_outputs] = torch.autograd.grad(risk, real.outputs, retain_graph=True)
            pieces = [piece for piece in real.pieces if piece.rows.start < own.stop and piece.rows.stop > own.start]
            is_last = domain == layout.num_domains - 1
            self._clear()
            self._go_back([_Pass(real.outputs, pieces)], [at_outputs], keeps_graph=not is_last)
            gradients.append(self._copied_gradients())
        by_parameter = zip(*gradients, strict=True)
        self.set_gradients([algorithm.combine(torch.stack(by_domain), step) for by_domain in by_parameter])
        return loss

    def walk(self, batch: Batch, step: int, advance: Callable[[bool], object]) -> Loss:
        """A step of an algorithm that walks; `advance` takes one of the optimiser's, by the parameters' gradients.

        It is told whether weights decay.
        """
        with torch.no_grad():
            return self._algorithm.walk(_Walk(self, batch, step, advance), step)

    @torch.enable_grad()
    def gradient_of_risk(self, batch: Batch, domain: int, part: slice, step: int) -> tuple[Tensor, list[Tensor]]:
        """As `Walk.gradient`. Only these rows go through the network, each worker those of them that it has.

        With BatchNorm that follows the batch it sees the rows of one domain at a time.
        """
        own, labels = _within(batch.layout, domain, part), batch.layout.labels
        if own.start == own.stop:
            return self._no_logits.new_zeros(()), [torch.zeros_like(p) for p in self._trained]
        real = self._real_pass(batch, 0, step, edges=(own.start, own.stop), only=own)
        risk = torch.nn.functional.cross_entropy(full_precision(real.outputs[own]), labels[own])
        [at_outputs] = torch.autograd.grad(risk, real.outputs)
        self._clear()
        self._go_back([real], [at_outputs])
        return risk.detach(), self._copied_gradients()

    @torch.enable_grad()
    def curvature_of_risk(self, batch: Batch, domain: int, direction: Sequence[Tensor], step: int) -> list[Tensor]:
        """As `Walk.curvature`: the gradient of the product of the risk's gradient with `direction`.

        A risk is a sum over rows, and so is this: each worker works it out for its own.
        """
        layout = batch.layout
        own = _within(layout, domain, slice(0, layout.num_rows // layout.num_domains))
        with twice_differentiable():
            real = self._real_pass(batch, 0, step, edges=(own.start, own.stop), only=own)
            self._clear()
            turns = self._turns([(piece, real.outputs) for piece in real.pieces])
            for number, turn in enumerate(turns, start=1):
                risks = [
                    torch.nn.functional.cross_entropy(piece.outputs(), layout.labels[piece.rows], reduction="sum")
                    for piece, _ in turn
                ]
                risk = torch.stack(risks).sum() / (own.stop - own.start)
                gradients = torch.autograd.grad(risk, self._trained, create_graph=True, materialize_grads=True)
                product = torch.stack([(g * d).sum() for g, d in zip(gradients, direction, strict=True)]).sum()
                if self._sum is not None and number == len(turns):
                    self._sum.expect_last_backward()
                product.backward()  # type: ignore[no-untyped-call]
        if self._sum is not None:
            self._sum.finish()
        return self._copied_gradients()

    def _copied_gradients(self) -> list[Tensor]:
        return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in self._trained]

    def set_gradients(self, gradients: Sequence[Tensor]) -> None:
        """Of the network's parameters that are trained."""
        for parameter, gradient in zip(self._trained, gradients, strict=True):
            if parameter.grad is None:
                parameter.grad = gradient.clone()
            else:
                parameter.grad.copy_(gradient)

    @property
    def trained(self) -> list[torch.nn.Parameter]:
        """The network's parameters that are not frozen."""
        return self._trained

    def _real_pass(
        self,
        batch: Batch,
        num_made: int,
        step: int,
        *,
        keeps_graph: bool = True,
        edges: Sequence[int] = (),
        only: slice | None = None,
    ) -> _Pass:
        total, rows_after = batch.layout.num_rows, self._group.share.longest(num_made)
        forward = self._forward(self._network, lambda part: batch.inputs[part], self._keys(total, step, mixed=False))
        return self._pass(total, forward, rows_after, keeps_graph=keeps_graph, edges=edges, only=only)

    def _made_pass(
        self, plan: MixupPlan, exchange: Exchange, step: int, network: Callable[[Tensor], Tensor], *, mixed: bool
    ) -> _Pass:
        inputs, own = exchange.inputs_for(plan)
        keys = self._keys(len(plan), step, mixed=mixed)
        forward = self._forward(network, lambda part: mix(own.of(part), inputs), keys)
        return self._pass(len(plan), forward, 0)

    def _pass(
        self,
        total: int,
        forward: Callable[[slice], Tensor],
        rows_after: int,
        *,
        keeps_graph: bool = True,
        edges: Sequence[int] = (),
        only: slice | None = None,
    ) -> _Pass:
        """Pass this worker's share of `total` rows forwards; in a later pass of the step are `rows_after` more.

        Without `keeps_graph` nothing is to go back. No piece has rows on both sides of any of the `edges`, ascending;
        with `only` the outputs of other rows are 0, and they are not passed at all.
        """
        own, longest = self._group.share.rows(total), self._group.share.longest(total)
        num_rows = own.stop - own.start
        # passes through a sharded network are collectives: all workers make as many, with and without a graph
        parts = _parts(num_rows, longest if self._is_sharded else num_rows, self._rows_at_once)
        parts = [piece for part in parts for piece in _cut(part, own.start, edges)]
        kept = [
            keeps_graph and (self._rows_at_once is None or longest - part.start + rows_after <= self._rows_at_once)
            for part in parts
        ]
        places = [slice(own.start + part.start, own.start + part.stop) for part in parts]
        passed = [only is None or (only.start <= place.start and place.stop <= only.stop) for place in places]
        none = self._no_logits.new_zeros((0, self._network.num_outputs))
        values = [
            _forward_once(forward, part, keeps) if goes else none.new_zeros((part.stop - part.start, none.shape[1]))
            for part, keeps, goes in zip(parts, kept, passed, strict=True)
        ]
        outputs = self._group.gather(torch.cat([none, *(value.detach() for value in values)]), total)
        graphs = [
            _kept(value) if keeps else partial(forward, part)
            for part, value, keeps in zip(parts, values, kept, strict=True)
        ]
        pieces = [_Piece(*each) for each in zip(places, graphs, kept, strict=True)]
        return _Pass(outputs.requires_grad_(), list(itertools.compress(pieces, passed)))

    def _keys(self, total: int, step: int, mixed: bool) -> Tensor | None:
        """Of this worker's share of `total` rows."""
        if self._dropped_by.num_layers == 0:
            return None
        own = self._group.share.rows(total)
        return to_device(row_keys(self._seed_at(step), step, mixed, total)[own], self._no_logits.device)

    def _drop_by(self, keys: Tensor | None) -> None:
        self._dropped_by.now = keys if keys is None or not self._compiles else of_any_length(keys)

    def _forward(
        self, network: Callable[[Tensor], Tensor], inputs: Callable[[slice], Tensor], keys: Tensor | None
    ) -> Callable[[slice], Tensor]:
        """What gives the outputs of a part of this worker's rows."""

        def forward(part: slice) -> Tensor:
            rows = inputs(part)
            self._drop_by(None if keys is None else _at_least_one(keys[part]))
            with autocast(rows.device, self._precision):
                return full_precision(network(_at_least_one(rows))[: len(rows)])

        return forward

    def _go_back(self, passes: Sequence[_Pass], gradients: Sequence[Tensor], *, keeps_graph: bool = False) -> None:
        """Propagate the gradients at the logits back to the parameters, and sum those of all workers."""
        turns = self._turns(
            [(piece, gradient) for each, gradient in zip(passes, gradients, strict=True) for piece in each.pieces]
        )
        for number, turn in enumerate(turns, start=1):
            if self._sum is not None and number == len(turns):
                self._sum.expect_last_backward()
            torch.autograd.backward(
                [each.outputs() for each, _ in turn],
                [gradient[each.rows] for each, gradient in turn],
                retain_graph=keeps_graph,
            )
        if self._sum is not None:
            self._sum.finish()

    def _turns(self, pieces: Sequence[tuple[_Piece, Tensor]]) -> list[list[tuple[_Piece, Tensor]]]:
        """Pieces that go back together, those whose graphs are there first: they make room for the others."""
        kept, repeated = ([each for each in pieces if each[0].is_kept is keeps] for keeps in (True, False))
        # all at once, if all graphs are there: each parameter's gradient is then complete as early as can be. Not if
        # the parameters are gathered for each graph, which is over when its own way back is
        first = [[each] for each in kept] if self._is_sharded else [kept] if kept else []
        return [*first, *([each] for each in repeated)]

    def _clear(self) -> None:
        if self._sum is None:
            self._network.zero_grad(set_to_none=True)
        else:
            self._sum.clear()


class _Walk:
    """What an algorithm that walks gets of a step, `ndcl.algorithms.base.Walk`."""

    def __init__(self, step: Step, batch: Batch, number: int, advance: Callable[[bool], object]) -> None:
        self._step, self._batch, self._number, self._advance = step, batch, number, advance
        self.num_domains = batch.layout.num_domains
        self.rows = batch.layout.num_rows // batch.layout.num_domains
        self.parameters: list[Tensor] = [parameter.detach() for parameter in step.trained]

    def gradient(self, domain: int, part: slice | None = None) -> tuple[Tensor, list[Tensor]]:
        return self._step.gradient_of_risk(self._batch, domain, part or slice(0, self.rows), self._number)

    def curvature(self, domain: int, direction: Sequence[Tensor]) -> list[Tensor]:
        return self._step.curvature_of_risk(self._batch, domain, direction, self._number)

    def move_to(self, values: Sequence[Tensor]) -> None:
        torch._foreach_copy_(self.parameters, list(values))

    def advance(self, gradients: Sequence[Tensor], *, decays: bool = True) -> None:
        self._step.set_gradients(gradients)
        self._advance(decays)


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


def _cut(part: slice, offset: int, edges: Sequence[int]) -> list[slice]:
    """`part` of rows that begin at row `offset` of all, cut at the `edges`, which are rows of all."""
    start, stop = offset + part.start, offset + part.stop
    places = [start, *(edge for edge in edges if start < edge < stop), stop]
    return [slice(a - offset, b - offset) for a, b in itertools.pairwise(places)]


def _within(layout: Layout, domain: int, part: slice) -> slice:
    """`part` of a domain's rows among all."""
    start = domain * (layout.num_rows // layout.num_domains)
    return slice(start + part.start, start + part.stop)


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Attention in a form whose gradient has a gradient: torch's fused ones have none."""
    with sdpa_kernel(SDPBackend.MATH):
        yield


def _forward_once(forward: Callable[[slice], Tensor], part: slice, keeps_graph: bool) -> Tensor:
    with torch.set_grad_enabled(keeps_graph):
        return forward(part)


def _at_least_one(rows: Tensor) -> Tensor:
    """`rows` [m, ...], or a row of zeros if there is none."""
    return rows if len(rows) else rows.new_zeros((1, *rows.shape[1:]))


def _kept(outputs: Tensor) -> Callable[[], Tensor]:
    return lambda: outputs


def _require_frozen_batchnorm(network: Network) -> None:
    if any(layer.training for layer in network.train().batchnorms):
        raise UserError(BATCHNORM_IN_PIECES)
