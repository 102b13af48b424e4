"""Programs on a head of which one runs at a time, however often they are started."""

import contextlib
import fcntl
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def alone(lock_file: Path) -> Iterator[bool]:
    """Whether nobody else holds the file; then it is held as long as this lasts."""
    with lock_file.expanduser().open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def is_held(lock_file: Path) -> bool:
    """Whether a program of this machine holds the file."""
    with alone(lock_file) as is_free:
        return not is_free


def keep_alone(lock_file: Path, step: Callable[[], object], pause_seconds: float) -> None:
    """Take a guard's steps for ever, unless another one does: what a step raises is logged, since a guard that has
    ended guards nothing.
    """
    with alone(lock_file) as is_free:
        if not is_free:
            logging.info("another guard runs already")
            return
        while True:
            try:
                step()
            except Exception:  # Ray may be restarting
                logging.exception("this round failed")
            time.sleep(pause_seconds)
