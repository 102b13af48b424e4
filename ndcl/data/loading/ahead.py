"""Work done by threads ahead of its use, in order: files are read and decoded while a network computes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ndcl.processors import num_processors

Job = TypeVar("Job")
Result = TypeVar("Result")

READERS = min(8, num_processors())
"""Threads; as many results are kept ready."""


def done_ahead(work: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[tuple[Job, Result]]:
    """Each of `jobs` with what `work` makes of it, in order. Jobs are asked for as late as they can be."""
    waiting: deque[tuple[Job, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(READERS)
    try:
        for job in jobs:
            waiting.append((job, pool.submit(work, job)))
            if len(waiting) > READERS:
                yield _next(waiting)
        while waiting:
            yield _next(waiting)
    finally:
        pool.shutdown(cancel_futures=True)


def _next(waiting: deque[tuple[Job, Future[Result]]]) -> tuple[Job, Result]:
    job, result = waiting.popleft()
    return job, result.result()
