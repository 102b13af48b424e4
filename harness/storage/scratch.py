"""Where a training process writes what it has not handed over yet, so that one that is killed leaves nothing for long.

Each process has its own folder below the system's temporary one and holds a lock on it, which the system gives
back when the process dies, however it dies. Whoever comes next removes the folders that nobody holds.
"""

import fcntl
import functools
import os
import shutil
import tempfile
from pathlib import Path


@functools.cache
def scratch_folder() -> Path:
    """This process's own folder. What killed processes of this user have left on this machine is removed first."""
    root = Path(tempfile.gettempdir()) / f"ndcl-{os.getuid()}"
    root.mkdir(mode=0o700, exist_ok=True)
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for folder in root.glob("process-*"):
            descriptor = _locked(folder)
            if descriptor is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(descriptor)
        own = Path(tempfile.mkdtemp(prefix="process-", dir=root))
        _locked(own)
    return own


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the folder until it is closed, at the latest by the process's end; None if it is held."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
