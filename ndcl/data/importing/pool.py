"""Conversion of many images on all cores: results in the order of the items, memory bounded.

Each process has its own connection, so that the death of one is seen at once, also in the middle of a message.
"""

import multiprocessing
import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndcl.data.importing.conversion import Converted, Results, convert_all, unconverted
from ndcl.data.importing.images import Content, Conversion
from ndcl.data.importing.source import Item
from ndcl.errors import UserError

_CHUNK_BYTES = 2**22
"""What a task takes or brings back: small enough to keep many workers busy, large enough to make overhead small."""
_MAX_CHUNK_ITEMS = 64
_TASKS_PER_WORKER = 3
"""Tasks that are handed out before their turn, so that no worker waits for the writer."""
_SECONDS_TO_END = 5.0

Task = tuple[int, list[Content | str]]
"""A number, and of each item its content or the fault it has already."""


def converted(items: Iterable[Item], conversion: Conversion, jobs: int) -> Iterator[Converted]:
    """Convert all items on `jobs` processes (1: in this one). Raises UserError if the system kills a process."""
    size = max(1, _CHUNK_BYTES // (3 * (conversion.size or 1) ** 2))
    chunks = _chunks(items, min(_MAX_CHUNK_ITEMS, size))
    if jobs == 1:
        for chunk in chunks:
            yield Converted(chunk, *convert_all(_contents(chunk), conversion))
        return
    with _Workers(jobs, conversion) as workers:
        yield from workers.converted(chunks)


def passed_on(items: Iterable[Item]) -> Iterator[Converted]:
    """Items whose content is stored as it is: vectors, or pixels of the right size."""
    return map(unconverted, _chunks(items, _MAX_CHUNK_ITEMS))


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, or of fewer if they are so large that several chunks would fill the memory."""
    chunk: list[Item] = []
    num_bytes = 0
    for item in items:
        chunk.append(item)
        num_bytes += len(item.content) if isinstance(item.content, bytes) else 0
        if len(chunk) == size or num_bytes > _CHUNK_BYTES:
            yield chunk
            chunk, num_bytes = [], 0
    if chunk:
        yield chunk


def _contents(chunk: Sequence[Item]) -> list[Content | str]:
    return [item.fault or item.content for item in chunk]


class _Workers:
    """Processes that convert; they leave Ctrl-C to their parent and end with it, also if it is killed."""

    def __init__(self, jobs: int, conversion: Conversion) -> None:
        # Not forked from this process: its threads (a progress bar's, Arrow's) could hold locks that never open there.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["__main__", __name__])
        self._conversion = conversion
        self._connections: list[Connection] = []
        self._processes = []
        for _ in range(jobs):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, conversion), daemon=True)
            process.start()
            theirs.close()  # so that the end of the process closes the connection
            self._connections.append(ours)
            self._processes.append(process)

    def __enter__(self) -> "_Workers":
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()  # which ends the process, whatever it is doing
        for process in self._processes:
            process.join(_SECONDS_TO_END)

    def converted(self, chunks: Iterator[list[Item]]) -> Iterator[Converted]:
        """The chunks in order. At most _TASKS_PER_WORKER of each worker are under way or wait for their turn."""
        free = deque(self._connections * _TASKS_PER_WORKER)
        ahead = len(free)
        under_way: dict[int, list[Item]] = {}
        results: dict[int, Results] = {}
        handed_out = turn = 0
        while True:
            while free and handed_out < turn + ahead and (chunk := next(chunks, None)) is not None:
                under_way[handed_out] = chunk
                _send(free.popleft(), (handed_out, _contents(chunk)))
                handed_out += 1
            if not under_way:
                return
            while turn not in results:
                for connection in wait(self._connections):
                    assert isinstance(connection, Connection)
                    number, result = _received(connection, self._conversion)
                    results[number] = result
                    free.append(connection)
            yield Converted(under_way.pop(turn), *results.pop(turn))
            turn += 1


def _send(connection: Connection, task: Task) -> None:
    try:
        connection.send(task)
    except OSError:
        raise _killed() from None


def _received(connection: Connection, conversion: Conversion) -> tuple[int, Results]:
    try:
        number, files, digests, faults = connection.recv()
        if conversion.format == "jpeg":
            return number, (files, digests, faults)
        pixels = np.frombuffer(connection.recv_bytes(), np.uint8)
    except (EOFError, OSError):
        raise _killed() from None
    assert conversion.size is not None
    images = iter(pixels.reshape(-1, conversion.size, conversion.size, 3))
    return number, ([None if fault else next(images) for fault in faults], digests, faults)


def _killed() -> UserError:
    return UserError(
        "the system killed a process that converted images, most likely because memory ran out; "
        "use fewer processes with --jobs"
    )


def _work(connection: Connection, conversion: Conversion) -> None:
    """What a process does: convert tasks in turn."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
    threading.Thread(target=_take_tasks, args=(connection, tasks), daemon=True).start()
    with suppress(OSError):  # the parent has closed the connection, or is dead
        while True:
            number, contents = tasks.get()
            inputs, digests, faults = convert_all(contents, conversion)
            if conversion.format == "jpeg":
                connection.send((number, inputs, digests, faults))
                continue
            connection.send((number, None, digests, faults))
            good: list[NDArray[Any]] = [pixels for pixels in inputs if isinstance(pixels, np.ndarray)]
            connection.send_bytes(np.stack(good).data.cast("B") if good else b"")


def _take_tasks(connection: Connection, tasks: "queue.SimpleQueue[Task]") -> None:
    """Take in tasks at any time, so that the parent never waits to hand one out; end when it closes the connection."""
    try:
        while True:
            tasks.put(connection.recv())
    except (EOFError, OSError):
        os._exit(0)
