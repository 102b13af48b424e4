"""The folder of a sweep: one owner at a time, one sweep at a time, and a clear word when it can't be written."""

import contextlib
import errno
import fcntl
import os
import shutil
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path

import yaml

from harness.lease import OWN_FILE
from harness.plan import Plan, difference, extends
from harness.storage import UNREACHABLE, Storage, record_storage, recorded_storage
from ndcl.errors import UserError

SWEEP_FILE, SWEEP_ID_FILE, LOCK_FILE = "sweep.yaml", ".sweep_id", ".lock"
STORAGE_ERRORS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EEXIST,
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


def prepare(plan: Plan, fresh: bool, storage: Storage | None = None) -> None:
    """Leave the folder ready for this plan, with what the `storage` holds of the sweep, if there is one.

    Raises UserError if the folder or the storage holds a sweep that this plan does not go on with.
    """
    path = plan.folder / SWEEP_FILE
    if fresh:
        _remove_sweep(plan.folder)
    _take_from(storage, plan, fresh)
    if path.exists():
        old = yaml.safe_load(path.read_text())
        lines = difference(old, plan.resolved)
        if lines and not extends(old, plan.resolved):
            raise UserError(
                f"sweep '{plan.name}' in {plan.results} was started with other values ({'; '.join(lines)}); "
                "take them back, give the sweep another name, or use --fresh to delete the earlier one"
            )
    text = yaml.safe_dump(plan.resolved, sort_keys=False)
    if storage is not None:
        storage.put(SWEEP_FILE, text)
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


def _take_from(storage: Storage | None, plan: Plan, fresh: bool) -> None:
    """Bring the folder to what the storage holds, and write down which storage that is. Raises UserError."""
    recorded, given = recorded_storage(plan.folder), storage.place if storage else None
    if (plan.folder / SWEEP_FILE).exists() and recorded != given:
        remedy = f"give --storage {recorded}" if recorded else "leave out --storage"
        raise UserError(
            f"sweep '{plan.name}' in {plan.results} was started with {recorded or 'no'} storage; {remedy}, give the "
            "sweep another name, or use --fresh to delete the earlier one"
        )
    if storage is not None:
        if fresh:
            storage.clear()
        storage.fetch(plan.folder)
        record_storage(plan.folder, storage)


def _remove_sweep(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in (LOCK_FILE, OWN_FILE):
            path.unlink()


def sweep_id(folder: Path, storage: Storage | None = None) -> str:
    """What tells this sweep from earlier ones of the same name."""
    path = folder / SWEEP_ID_FILE
    if not path.exists() or not path.read_text():
        path.write_text(uuid.uuid4().hex)
        if storage is not None:
            storage.put(SWEEP_ID_FILE, path.read_text())
    return path.read_text()


def configured_uri(folder: Path) -> str | None:
    """The `tracking.uri` of the sweep in `folder`, or None."""
    path = folder / SWEEP_FILE
    values = yaml.safe_load(path.read_text()) if path.exists() else {}
    uri: str | None = (values.get("tracking") or {}).get("uri")
    return uri


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


_WHOLE_FILE = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
"""A C struct flock: a write lock from the first byte to the last."""


@contextlib.contextmanager
def locked(plan: Plan) -> Iterator[None]:
    """Let one process at a time run the sweep; the system gives the lock back if the process dies.

    It is a lock of the open file (Linux's F_OFD_SETLK), which others can ask about without taking it.
    """
    with (plan.folder / LOCK_FILE).open("w") as file:
        try:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, _WHOLE_FILE)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            raise UserError(
                f"sweep '{plan.name}' in {plan.results} is being run by another process; "
                "wait for it, or give this sweep another name"
            ) from None
        yield


def is_locked(folder: Path) -> bool:
    """Whether a process runs the sweep of this folder. Nothing is locked, not even for a moment, or written."""
    try:
        with (folder / LOCK_FILE).open() as file:
            answer = fcntl.fcntl(file, fcntl.F_OFD_GETLK, _WHOLE_FILE)
    except FileNotFoundError:
        return False
    return bool(struct.unpack_from("h", answer)[0] != fcntl.F_UNLCK)
