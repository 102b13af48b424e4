"""The workers of one training and what they exchange. A single process exchanges nothing, and pays nothing.

W workers, N rows of a batch; every collective must be called by all workers, in the same order. Which rows are whose
follows from their number alone, so that no sizes are exchanged and nothing here waits for a device but `from_first`,
`has_any` and `barrier`.
"""

import os
from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from ndcl.batch import WHOLE, Share
from ndcl.errors import UserError
from ndcl.gpus import gpu_problem


class Group:
    """The workers of a training; by default this process alone."""

    def __init__(self, share: Share = WHOLE, process_group: "dist.ProcessGroup | None" = None) -> None:
        """With a share of several, torch.distributed must be initialised; None is its default group."""
        self.share = share
        self.process_group = process_group

    @classmethod
    def current(cls) -> "Group":
        """All processes of torch.distributed where it is initialised (torchrun, Ray Train), else this one alone."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(Share(rank=dist.get_rank(), world_size=dist.get_world_size()))

    @property
    def is_several(self) -> bool:
        """Whether there is anybody to exchange something with."""
        return self.share.world_size > 1

    @property
    def is_first(self) -> bool:
        """Whether this worker is the one that writes files."""
        return self.share.rank == 0

    @property
    def shares(self) -> list[Share]:
        """Of all workers."""
        world_size = self.share.world_size
        return [Share(rank=rank, world_size=world_size) for rank in range(world_size)]

    def gather(self, rows: Tensor, total: int) -> Tensor:
        """All `total` rows [total, ...] on every worker, from each worker's share of them; without gradient."""
        return self.start_gather(rows, total)()

    def start_gather(self, rows: Tensor, total: int) -> Callable[[], Tensor]:
        """As `gather`, done while this process continues; the result is what the returned function returns."""
        if not self.is_several:
            return lambda: rows
        longest = self.share.longest(total)
        padded = rows.contiguous()
        if len(rows) < longest:
            padded = torch.cat([padded, rows.new_zeros((longest - len(rows), *rows.shape[1:]))])
        everything = rows.new_empty((self.share.world_size, longest, *rows.shape[1:]))
        wait = _start(dist.all_gather_into_tensor, everything.flatten(0, 1), padded, group=self.process_group)

        def result() -> Tensor:
            wait()
            return self._without_padding(everything, total)

        return result

    def _without_padding(self, everything: Tensor, total: int) -> Tensor:
        """Rows [total, ...] of the workers' padded shares [W, longest, ...]."""
        if total % self.share.world_size == 0:
            return everything.flatten(0, 1)
        sizes = (rows.stop - rows.start for rows in (share.rows(total) for share in self.shares))
        return torch.cat([part[:size] for part, size in zip(everything, sizes, strict=True)])

    def swap(self, rows: Tensor, sent: list[int], received: list[int]) -> Tensor:
        """Send the first `sent[0]` of `rows` [n, ...] to the first worker and so on, and return what the others sent.

        `received` says how many rows each worker sends to this one.
        """
        result = rows.new_empty((sum(received), *rows.shape[1:]))
        dist.all_to_all_single(result, rows.contiguous(), received, sent, self.process_group)
        return result

    def start_sum(self, values: Tensor) -> Callable[[], object]:
        """Replace `values` by their sum over the workers; done once the returned function returns."""
        return _start(dist.all_reduce, values, dist.ReduceOp.SUM, group=self.process_group)

    def from_first(self, values: Sequence[float]) -> list[float]:
        """The first worker's `values`, on all workers."""
        if not self.is_several:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self._device_of_few)
        dist.broadcast(tensor, group=self.process_group, group_src=0)
        return list(tensor.tolist())

    def has_any(self, value: bool) -> bool:
        """Whether `value` is true on any worker, on all workers."""
        if not self.is_several:
            return value
        tensor = torch.tensor([float(value)], device=self._device_of_few)
        dist.all_reduce(tensor, dist.ReduceOp.SUM, group=self.process_group)
        return bool(tensor.item() > 0)

    @property
    def _device_of_few(self) -> str:
        return "cuda" if dist.get_backend(self.process_group) == "nccl" else "cpu"

    def barrier(self) -> None:
        """Wait until all workers are here."""
        if self.is_several:
            dist.barrier(self.process_group)


def local_device(device: torch.device, group: Group) -> torch.device:
    """`device`, or the GPU of this one of several workers: number LOCAL_RANK, which torchrun and Ray Train set."""
    if device.type != "cuda" or not group.is_several:
        return device
    own = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    torch.cuda.set_device(own)
    return own


def _start(collective: Callable[..., dist.Work | None], *arguments: object, **options: object) -> Callable[[], object]:
    """Start a collective; what is returned waits for it."""
    work = collective(*arguments, async_op=True, **options)
    assert work is not None, "this process is not in the group"
    return work.wait


def resolve_device(name: str) -> torch.device:
    """The device that `name` (auto, cpu, cuda) stands for. Raises UserError for cuda where there is none to be used.

    Of a GPU that `auto` leaves alone, since it is too old for this torch or its driver is, torch itself warns.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() and gpu_problem() is None else "cpu"
    elif name == "cuda" and (problem := gpu_problem()) is not None:
        raise UserError(f"device: 'cuda' was asked for, but torch can't use it: {problem}; set device to auto or cpu")
    return torch.device(name)
