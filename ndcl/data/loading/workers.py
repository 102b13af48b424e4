"""Worker processes that prepare inputs ahead of their use, in the order in which they were asked for."""

import ctypes
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ndcl.data.loading.preparation import Job, Preparation
from ndcl.errors import UserError

PREFETCHED_JOBS = 2
"""Results that each worker keeps ready."""
MOST_WORKERS = 16
"""Started at most, where the config leaves the number open."""
SHARED_MEMORY = Path("/dev/shm")
"""Through which the workers hand over what they made."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's options (malloc.h)."""
_KEPT_BYTES = 2**28


class Workers:
    """Processes that stay until this object is gone, from one `run` to the next; they also end if their parent dies."""

    def __init__(self, preparation: Preparation, count: int, pin_memory: bool) -> None:
        """Raises UserError if there is too little shared memory."""
        _require_shared_memory(preparation, count)
        self._jobs = _Jobs()
        self._loader: DataLoader[Tensor] = DataLoader(
            _Answers(preparation),  # type: ignore[arg-type]
            batch_size=None,
            sampler=self._jobs,
            num_workers=count,
            prefetch_factor=PREFETCHED_JOBS,
            persistent_workers=True,
            pin_memory=pin_memory,
            collate_fn=_unchanged,
            worker_init_fn=keep_freed_memory,
            generator=torch.Generator(),  # so that torch's own random numbers stay as they are
        )

    def run(self, jobs: Sequence[Job]) -> Iterator[Tensor]:
        """The results of `jobs`, in their order. One run at a time: a new one drops what is left of the last.

        Raises RuntimeError if a worker dies.
        """
        self._jobs.all = jobs
        for answer in self._answers():
            if isinstance(answer, UserError):
                raise answer
            yield answer
            assert self._jobs.all is jobs, "another run began before this one had ended"

    def _answers(self) -> Iterator[Any]:
        try:
            yield from self._loader
        except (EOFError, ConnectionError, FileNotFoundError) as error:  # it died before its result was fetched
            raise RuntimeError("a worker process of the loader was killed, perhaps for lack of memory") from error


class _Jobs:
    """What the workers are to do next."""

    all: Sequence[Job] = ()

    def __iter__(self) -> Iterator[Job]:
        return iter(self.all)

    def __len__(self) -> int:
        return len(self.all)


class _Answers:
    """The preparation, with a user's mistake as a result: raised, it would come with a traceback in its message."""

    def __init__(self, preparation: Preparation) -> None:
        self._preparation = preparation

    def __getitem__(self, job: Job) -> Tensor | UserError:
        try:
            return self._preparation[job]
        except UserError as error:
            return error


def _unchanged(answer: Any) -> Any:
    return answer


def keep_freed_memory(worker: int | None = None) -> None:
    """Let glibc reuse what this process freed: to give it back after each image took a third of the time."""
    allocator = ctypes.CDLL(None)
    if hasattr(allocator, "mallopt"):
        allocator.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        allocator.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)


def number_of_workers(preparation: Preparation, device: torch.device) -> int:
    """How many processes prepare the batches: as the config says, else by what there is to do and the cores.

    Small images and vectors need none. The training keeps one of the cores that torch may use.
    """
    asked = preparation.config.data.workers
    if asked is not None:
        return asked
    if not preparation.is_photos:
        return 0
    useful = 1 if device.type == "cpu" else 2 if preparation.on_device else MOST_WORKERS
    return min(useful, torch.get_num_threads() - 1)


def _require_shared_memory(preparation: Preparation, count: int) -> None:
    """Too little would end a worker by a bus error."""
    if not SHARED_MEMORY.is_dir():
        return
    rows = preparation.rows.stop - preparation.rows.start
    needed = count * (PREFETCHED_JOBS + 1) * rows * preparation.input_bytes
    free = shutil.disk_usage(SHARED_MEMORY).free
    if needed > free:
        raise UserError(
            f"data.workers: {count} workers need {needed >> 20} MiB of shared memory, {SHARED_MEMORY} has "
            f"{free >> 20} MiB free; lower data.workers, or give the container more (docker run --shm-size)"
        )
