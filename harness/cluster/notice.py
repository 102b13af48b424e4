"""The mark on a node that is about to be taken away: the notice guard leaves it, and the node's trials look for it."""

import os
import tempfile
import time
from pathlib import Path

MARK = "NDCL_NOTICE_FILE"
"""Variable that names the file; by default it lies in the machine's folder for temporary files."""

GUARD_LOCK_FILE = Path("~/.ndcl-notice-guard.lock")
"""Held while a notice guard runs; it stays where one has ever run."""


def is_guarded() -> bool:
    """Whether anybody may leave a mark here: a notice guard, or who has named the file, as Slurm's script does."""
    return bool(os.environ.get(MARK)) or GUARD_LOCK_FILE.expanduser().exists()


def mark_file() -> Path:
    """The file that is there once the node has been given notice."""
    default = Path(tempfile.gettempdir()) / f"ndcl-notice-{os.getuid()}"
    return Path(os.environ.get(MARK) or default)


class NodeNotice:
    """Whether notice was given since this was made.

    What starts on a node that has its notice already ignores it: else a trial that finds no other node would be given
    back after each step.
    """

    def __init__(self) -> None:
        self._file = mark_file()
        self._earlier = self._time()

    def __call__(self) -> bool:
        """One look at the file system, some microseconds."""
        return self._time() != self._earlier and self._file.exists()

    def _time(self) -> int | None:
        """When the mark was left, in nanoseconds; None without one."""
        try:
            return self._file.stat().st_mtime_ns
        except FileNotFoundError:
            return None


def leave_mark(reason: str) -> None:
    """Tell the trials on this node that it is about to be taken away."""
    mark_file().write_text(f"{time.time():.0f} {reason}\n")


def remove_mark() -> None:
    """What an earlier life of this machine has left is void."""
    mark_file().unlink(missing_ok=True)
