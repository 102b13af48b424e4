"""A sweep's folder: its lock, its id, and a clear word where it can't be written."""

import contextlib
import errno
import fcntl
import os
import re
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from harness.storage.storage import Storage
from harness.storage.stored_files import UNREACHABLE
from ndcl.errors import UserError
from ndcl.files import clear_write_errors, write_whole

SWEEP_ID_FILE, LOCK_FILE, OPTUNA_FILE = ".sweep_id", ".lock", "optuna.db"
STORAGE_ERRORS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOENT,
)
STORAGE_SIGNS = (
    "No space left",
    "disk is full",
    "Disk quota",
    "Read-only file system",
    "readonly database",
    UNREACHABLE,
)
"""How a full or read-only disk shows in the messages of other libraries, and ours in those of Ray."""
OWN_RESULTS = "make it writable, or copy the results to a folder of your own and give that by --results"
"""The remedy where results may only be read."""
_WHOLE_FILE = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
"""A C struct flock: a write lock from the first byte to the last."""


def sweep_id(folder: Path, storage: Storage | None = None) -> str:
    """What tells this sweep from earlier ones of the same name."""
    path = folder / SWEEP_ID_FILE
    known = path.read_bytes().strip().decode(errors="replace") if path.exists() else ""
    if not re.fullmatch("[0-9a-f]{32}", known):  # none yet, or damaged: MLflow is then told all anew
        known = uuid.uuid4().hex
        if storage is not None:
            storage.put(SWEEP_ID_FILE, known)
        write_whole(path, known)
    elif storage is not None and (storage.read(SWEEP_ID_FILE) or "").strip() != known:
        storage.put(SWEEP_ID_FILE, known)
    return known


@contextlib.contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Turn what goes wrong with the results folder, now or later, into a UserError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.write_text("x" * 4096)
        probe.unlink()
        yield
    except UserError:
        raise
    except Exception as error:
        reason = storage_problem(error)
        if reason is None:
            raise
        raise UserError(
            f"results folder {folder}: it can't be written ({reason}); make room or choose another folder with "
            "--results, then run the same command again"
        ) from error


def storage_problem(error: BaseException | str) -> str | None:
    """What the error says about a disk that can't be written, or None if it is about something else."""
    if isinstance(error, OSError) and error.errno in STORAGE_ERRORS:
        return os.strerror(error.errno)
    return next((sign for sign in STORAGE_SIGNS if sign in str(error)), None)


def locked(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Let one process at a time run the sweep. Raises UserError if another does."""
    return alone(
        folder / LOCK_FILE,
        f"sweep '{folder.name}' in {folder.parent} is being run by another process; "
        "wait for it, or give this sweep another name",
    )


def lock_file(path: Path) -> TextIO:
    """A file of results, made and opened to be locked. Raises UserError, with a remedy, if it can't be written."""
    with clear_write_errors(path.parent, OWN_RESULTS):
        return path.open("w")


@contextlib.contextmanager
def alone(path: Path, refusal: str) -> Iterator[None]:
    """Hold the lock of a file, which is made; the system gives it back if the process dies.

    It is a lock of the open file (Linux's F_OFD_SETLK), which others can ask about without taking it. Raises UserError
    with the `refusal` if another process holds it, and if the file can't be written.
    """
    with lock_file(path) as file:
        try:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, _WHOLE_FILE)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            raise UserError(refusal) from None
        yield


def is_locked(folder: Path) -> bool:
    """Whether a process runs the sweep of this folder. Nothing is locked, not even for a moment, or written."""
    try:
        with (folder / LOCK_FILE).open() as file:
            answer = fcntl.fcntl(file, fcntl.F_OFD_GETLK, _WHOLE_FILE)
    except FileNotFoundError:
        return False
    return bool(struct.unpack_from("h", answer)[0] != fcntl.F_UNLCK)
