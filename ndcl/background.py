"""Work that goes on in a thread beside the training."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Background:
    """One job at a time. What a job raises is raised when the next one is started, or at `wait`."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._job: Future[object] | None = None

    def start(self, job: Callable[[], object]) -> None:
        """Start `job` as soon as the one before it is done."""
        self.wait()
        self._job = self._pool.submit(job)

    def wait(self) -> None:
        """Until nothing is going on."""
        job, self._job = self._job, None
        if job is not None:
            job.result()
