"""The lease of a stored sweep: one process at a time runs it, on whatever machine.

The lock of a results folder holds on its machine alone. A sweep with a storage can be started on another one, so who
runs it writes a file beside the stored sweep, and writes it anew every few seconds. Who finds such a file waits whether
it changes, and takes over if it does not: times of two machines are never compared.
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness.storage.storage import Storage
from ndcl.errors import UserError
from ndcl.files import write_whole
from ndcl.strict import from_dict

OWN_FILE = ".lease"
"""Holds, in a sweep's folder, the key of the newest lease that a process there has taken."""


@dataclass(frozen=True, kw_only=True)
class Rhythm:
    """Times of leases, in seconds."""

    renew: float = 5.0
    """From one renewal to the next."""
    stale: float = 30.0
    """A lease that has not changed for so long is nobody's."""
    settle: float = 1.0
    """From taking a lease to looking whether another process has taken it at the same moment."""


RHYTHM = Rhythm()


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who runs a sweep."""

    key: str
    """Of this start alone."""
    host: str
    pid: int
    since: str
    renewals: int = 0

    def __str__(self) -> str:
        """For messages."""
        return f"process {self.pid} on {self.host}, since {self.since}"


def _holder(text: str) -> Holder:
    """Who has written a lease. A damaged one is of somebody unknown; it gets stale, and is taken over, as any other."""
    try:
        return from_dict(Holder, json.loads(text))
    except ValueError:
        return Holder(key=text, host="an unknown machine: the lease is damaged", pid=0, since="an unknown time")


class Lease:
    """The right of this process to run a stored sweep."""

    def __init__(self, storage: Storage, rhythm: Rhythm) -> None:
        """Nothing is taken before `take`."""
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        self._own = Holder(key=uuid.uuid4().hex, host=socket.gethostname(), pid=os.getpid(), since=since)
        self._sweep = f"sweep '{storage.sweep}' in {storage.shown_place}"
        self._file = storage.lease_file
        self._rhythm = rhythm
        self._taken_by: Holder | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def take(self, folder: Path, say: Callable[[str], None], *, take_over: bool) -> None:
        """Take it, and keep it until `release`. Raises UserError if another process has it.

        `folder` is the sweep's on this machine, which no other process may run now: an earlier lease that was taken
        there is over. Any other has to be stale, unless `take_over`.
        """
        other, own_file = self._read(), folder / OWN_FILE
        is_from_here = other is None or (own_file.exists() and own_file.read_bytes() == other.key.encode())
        if other is not None and not is_from_here and not take_over:
            self._require_stale(other, say)
        write_whole(own_file, self._own.key)
        self._write()
        # one that is taken over learns it at its next renewal, and has stopped writing before this one begins
        time.sleep(self._rhythm.settle if is_from_here or not take_over else 2 * self._rhythm.renew)
        now = self._read()
        if now is not None and now.key != self._own.key:
            raise self._held_by(now)
        self._thread.start()

    def release(self) -> None:
        """Give it up."""
        self._over.set()
        self._thread.join()
        if self._taken_by is None:
            with contextlib.suppress(UserError):  # the storage is away; the lease becomes stale
                self._file.remove()

    def refusal(self) -> str | None:
        """Why this process must not continue, or None."""
        if self._taken_by is None:
            return None
        return f"{self._sweep} has been taken over by another process ({self._taken_by}); this one has stopped"

    def _require_stale(self, other: Holder, say: Callable[[str], None]) -> None:
        say(
            f"{self._sweep} was being run by another process ({other}); waiting {self._rhythm.stale:g} s to see "
            "whether it still is"
        )
        deadline = time.monotonic() + self._rhythm.stale
        while time.monotonic() < deadline:
            time.sleep(self._rhythm.renew / 5)
            now = self._read()
            if now is None:
                return
            if now != other:
                raise self._held_by(now)

    def _held_by(self, other: Holder) -> UserError:
        return UserError(
            f"{self._sweep} is being run by another process ({other}); wait for it, give this sweep another name, or "
            "stop it from here with --take-over"
        )

    def _renew(self) -> None:
        while not self._over.wait(self._rhythm.renew):
            with contextlib.suppress(UserError):  # the storage is away, which the sweep's own writes will tell
                now = self._read()
                if now is not None and now.key != self._own.key:
                    self._taken_by = now
                    return
                self._own = replace(self._own, renewals=self._own.renewals + 1)
                self._write()

    def _read(self) -> Holder | None:
        text = self._file.read()
        return None if text is None else _holder(text)

    def _write(self) -> None:
        self._file.write(json.dumps(asdict(self._own)))


@contextlib.contextmanager
def leased(
    storage: Storage | None,
    folder: Path,
    say: Callable[[str], None],
    *,
    take_over: bool = False,
    rhythm: Rhythm = RHYTHM,
) -> Iterator[None]:
    """Hold the lease of a sweep's storage, if it has one; writes into it are refused once the lease is lost.

    Raises UserError if another process has it, or in the end if another process has taken it.
    """
    if storage is None:
        yield
        return
    lease = Lease(storage, rhythm)
    lease.take(folder, say, take_over=take_over)
    storage.refusal = lease.refusal
    try:
        yield
    finally:
        lease.release()
        refusal = lease.refusal()
        if refusal is not None:
            raise UserError(refusal)
