"""Files on their way to or from an object store: several at once, counted together, and stopped together."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from ndcl.filesystems import FILES_AT_ONCE

Progress = Callable[[int, int | None], None]
"""Is told how many bytes are there, and of how many."""


class StoppedError(Exception):
    """Another file has failed, so that this one was left where it was."""


class Tally:
    """The bytes of all files together; told to `progress` from any thread."""

    def __init__(self, progress: Progress, done: int, total: int) -> None:
        self._progress, self._done, self._total = progress, done, total
        self._lock = threading.Lock()
        self._stop = threading.Event()
        progress(done, total)

    def add(self, num_bytes: int) -> None:
        """So many more have been copied. Raises StoppedError if nothing more is wanted."""
        if self._stop.is_set():
            raise StoppedError
        with self._lock:
            self._done += num_bytes
            self._progress(self._done, self._total)

    def stop(self) -> None:
        """Have every file end where it is."""
        self._stop.set()


def copy_all(jobs: Sequence[Callable[[], None]], tally: Tally) -> None:
    """Run the jobs, each of which copies a file and adds to the `tally`; the first that fails ends all, and is raised.

    So does an interrupt.
    """
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        futures = [pool.submit(job) for job in jobs]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            tally.stop()
            pool.shutdown(cancel_futures=True)
            raise
