"""The sum of the parameters' gradients over the workers, made while the backward pass still runs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ndcl.parallel.group import Group

BUCKET_BYTES = 2**25
"""Gradients are summed in pieces of at least this size, since each sum takes a round trip of the network."""
FIRST_BUCKET_BYTES = 2**20
"""The first piece is smaller, so that the exchange begins early in the backward pass."""


@dataclass(frozen=True)
class _Bucket:
    """Parameters whose gradients lie side by side in memory."""

    parameters: list[nn.Parameter]
    flat: Tensor
    """All their gradients."""
    views: list[Tensor]
    """Each parameter's, laid out in memory as the parameter is."""


class GradientSum:
    """Gradients that are summed over the workers, without a factor.

    Buckets are summed in the same order on every worker, whatever order their gradients come in: a collective must be
    everywhere the same. A parameter without gradient on a worker counts as 0 there.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], group: Group) -> None:
        """From here on the gradients of `parameters` are views of buckets: never set them to None."""
        self._group = group
        # the gradients of the last layers come first
        self._buckets = list(_buckets(reversed([p for p in parameters if p.requires_grad])))
        self._missing: list[int] = []
        self._started: list[Callable[[], object]] = []
        for number, bucket in enumerate(self._buckets):
            for parameter, view in zip(bucket.parameters, bucket.views, strict=True):
                parameter.grad = view
                parameter.register_post_accumulate_grad_hook(self._hook(number))  # type: ignore[no-untyped-call]

    def clear(self) -> None:
        """Set all gradients to 0."""
        for bucket in self._buckets:
            bucket.flat.zero_()

    def expect_last_backward(self) -> None:
        """The backward pass that comes next is the step's last: a gradient that it adds to is complete."""
        self._missing = [len(bucket.parameters) for bucket in self._buckets]

    def finish(self) -> None:
        """Sum what has not been summed, and wait until all is (on a GPU: make its queue wait)."""
        self._missing = [0] * len(self._buckets)
        self._start_complete()
        for wait in self._started:
            wait()
        self._missing, self._started = [], []

    def _hook(self, number: int) -> Callable[[Tensor], None]:
        def complete(parameter: Tensor) -> None:
            if self._missing:
                self._missing[number] -= 1
                self._start_complete()

        return complete

    def _start_complete(self) -> None:
        while len(self._started) < len(self._buckets) and self._missing[len(self._started)] == 0:
            self._started.append(self._group.start_sum(self._buckets[len(self._started)].flat))


def _buckets(parameters: Iterable[nn.Parameter]) -> Iterable[_Bucket]:
    members: list[nn.Parameter] = []
    least_bytes = min(FIRST_BUCKET_BYTES, BUCKET_BYTES)
    for parameter in parameters:
        if members and (_bytes(members) >= least_bytes or parameter.dtype != members[0].dtype):
            yield _bucket(members)
            members, least_bytes = [], BUCKET_BYTES
        members.append(parameter)
    if members:
        yield _bucket(members)


def _bucket(parameters: list[nn.Parameter]) -> _Bucket:
    flat = torch.zeros(sum(p.numel() for p in parameters), dtype=parameters[0].dtype, device=parameters[0].device)
    pieces = torch.split(flat, [p.numel() for p in parameters])
    views = [piece.as_strided(p.shape, p.stride()) for piece, p in zip(pieces, parameters, strict=True)]
    return _Bucket(parameters, flat, views)


def _bytes(parameters: list[nn.Parameter]) -> int:
    return sum(p.numel() * p.element_size() for p in parameters)
