"""Files: places that a user names, and what several processes share: locked, replaced whole, databases made whole."""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from ndcl.errors import UserError


@contextmanager
def clear_write_errors(place: object, remedy: str = "give another place") -> Iterator[None]:
    """Turn what the system says about writing to a `place` of the user's into a UserError of one line."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{place}: it can't be written ({reason_of(error)}); {remedy}") from None


def reason_of(error: OSError) -> str:
    """What the system says, in a few words and without the path."""
    return os.strerror(error.errno) if error.errno else " ".join(str(error).split())


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, which is made if it is not there; waits for whoever holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def sqlite_uri(path: Path) -> str:
    """The URI by which SQLAlchemy opens a file, whatever its path: it shortens `..` before links are followed, and
    takes `?` for the begin of options and `%` for that of a code.
    """
    return f"sqlite:///{str(path.resolve()).replace('%', '%25').replace('?', '%3F')}"


def make_whole(path: Path, make: Callable[[Path], None]) -> None:
    """If there is no `path`, have `make` build it elsewhere, and then put it there. For one process at a time."""
    if path.exists():
        return
    partial = path.with_suffix(".partial")
    for leftover in path.parent.glob(f"{partial.name}*"):  # with the journal that sqlite keeps beside it
        leftover.unlink()
    make(partial)
    partial.replace(path)


def is_damaged(path: Path) -> bool:
    """Whether `path` is no database of sqlite's, or one of which a page is lost. One that is locked is not."""
    if not path.is_file():
        return False
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=1)) as database:
            return bool(database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",))
    except sqlite3.OperationalError:  # locked, or not to be read: that is said when it is opened
        return False
    except sqlite3.DatabaseError:
        return True


def set_aside_damaged(path: Path, say: Callable[[str], None], remedy: str) -> None:
    """If `path` is damaged, keep it under another name, so that it is made anew; `say` is called, with the `remedy`.

    For one process at a time. What sqlite keeps beside it goes along, or it would be laid over the new one.
    """
    if not is_damaged(path):
        return
    numbers = (number for number in count(1) if not path.with_name(f"{path.name}.damaged-{number}").exists())
    kept = path.with_name(f"{path.name}.damaged-{next(numbers)}")
    path.replace(kept)
    for suffix in ("-journal", "-wal", "-shm"):
        beside = path.with_name(f"{path.name}{suffix}")
        if beside.exists():
            beside.replace(kept.with_name(f"{kept.name}{suffix}"))
    say(f"{path} is damaged and is kept as {kept.name}; {remedy}")


def write_whole(path: Path, text: str) -> None:
    """Replace a text file; who reads it meanwhile, or after a loss of power, gets the earlier or the new one, whole."""
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
