"""Writing a data set: streamed to shards in a folder that appears whole or not at all, also in the place of another."""

import contextlib
import ctypes
import errno
import fcntl
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ndcl.data.store.format import (
    FILE_NAME,
    ContentDigest,
    Header,
    Kind,
    Rows,
    digests_of_rows,
    input_column,
    metadata,
    shard_name,
)
from ndcl.errors import UserError
from ndcl.files import reason_of
from ndcl.names import require_text

PARTIAL_PREFIX, REPLACED_PREFIX = ".partial-", ".replaced-"
MAX_SHARD_BYTES = 2**30
BATCH_BYTES = 2**25
"""Inputs are kept in memory until so many bytes are full, and written together."""
_LOCK_NAME = ".lock"
_NEW_PREFIX = ".new-"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
"""Of Linux: relative to the working directory, and exchange both."""


class StoreWriter:
    """Writes a data set from parts, within a `with` block; leaving the block without an exception publishes it.

    Memory stays bounded: inputs go to disk at once, only labels, domains and paths wait for the end. A killed writer
    leaves a folder whose name starts with `.partial-`, which nothing takes for a data set and the next writer of the
    same name removes. With `replace` a data set that lies in `folder` gives way when the new one is whole; those who
    have it open keep it as it was. Raises UserError for a class or domain that
    `ndcl.names.require_text` refuses, and if `folder` exists, or with `replace` holds something else than a
    data set, or cannot be written to, such as on a full disk.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        classes: Sequence[str],
        domains: Sequence[str],
        kind: Kind,
        shape: tuple[int, ...],
        dtype: str = "uint8",
        notes: dict[str, Any] | None = None,
        max_shard_bytes: int = MAX_SHARD_BYTES,
        replace: bool = False,
    ) -> None:
        assert len(shape) == (1 if kind == "vectors" else 3), shape
        assert dtype in (("float16", "float32") if kind == "vectors" else ("uint8",)), dtype
        for what, names in (("class", classes), ("domain", domains)):
            for one in names:
                require_text(one, what)
        self.folder = folder.resolve() if replace else folder  # of a link, its target is replaced
        self.replace = replace
        self.notes: dict[str, Any] = notes or {}
        """Kept with the data set; may be added to until the block is left. JSON types only."""
        self._header = Header(
            name=name,
            classes=tuple(classes),
            domains=tuple(domains),
            kind=kind,
            shape=tuple(shape),
            dtype=dtype,
            digest="",
            shards=(),
        )
        self._digest = ContentDigest(self._header)
        self._max_shard_bytes = max_shard_bytes
        self._labels: list[NDArray[np.int64]] = []
        self._domain_ids: list[NDArray[np.int64]] = []
        self._paths: list[str] = []

    def __enter__(self) -> "StoreWriter":
        require_free(self.folder, self.replace)
        with clear_store_errors(self.folder):
            self._partial = PartialFolder(self.folder)
        self._shards = _Shards(self._partial.path, self._max_shard_bytes)
        self._buffer = _Buffer(self._header)
        return self

    def append(
        self, inputs: Rows, labels: Sequence[int], domain_ids: Sequence[int], paths: Sequence[str] | None = None
    ) -> None:
        """Add m inputs: encoded images, or an array [m, *shape]. Paths are given always or never."""
        assert len(inputs) == len(labels) == len(domain_ids), (len(inputs), len(labels), len(domain_ids))
        assert paths is None or len(paths) == len(inputs)
        for ids, names in ((labels, self._header.classes), (domain_ids, self._header.domains)):
            assert not len(ids) or 0 <= min(ids) <= max(ids) < len(names), "a label or domain that has no name"
        self._labels.append(np.array(labels, np.int64))
        self._domain_ids.append(np.array(domain_ids, np.int64))
        self._paths.extend(paths or ())
        with clear_store_errors(self.folder):
            for rows in self._buffer.add(inputs):
                self._flush(rows)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                with clear_store_errors(self.folder):
                    self._finish()
        finally:
            self._shards.abandon()
            self._partial.remove()

    def _finish(self) -> None:
        if len(self._buffer):
            self._flush(self._buffer.take())
        shards = self._shards.finish()
        if not shards:
            raise UserError(f"{self.folder}: there is no input to write; a data set needs at least one")
        labels, domain_ids = np.concatenate(self._labels), np.concatenate(self._domain_ids)
        assert len(self._paths) in (0, len(labels)), "paths are given for all inputs or for none"
        header = replace(self._header, digest=self._digest.finish(labels, domain_ids), shards=shards)
        columns = {"label": pa.array(labels, pa.int32()), "domain": pa.array(domain_ids, pa.int32())}
        if self._paths:
            columns["path"] = pa.array(self._paths, pa.string())
        batch = pa.RecordBatch.from_pydict(columns)
        write_file(self._partial.path / FILE_NAME, batch.replace_schema_metadata(metadata(header, self.notes)))
        self._partial.publish(self.replace)

    def _flush(self, rows: Rows) -> None:
        self._digest.update(digests_of_rows(rows))
        self._shards.write(input_column(rows, self._header.kind))


def write_store(
    folder: Path,
    *,
    name: str,
    classes: Sequence[str],
    domains: Sequence[str],
    inputs: NDArray[Any],
    labels: NDArray[np.int64],
    domain_ids: NDArray[np.int64],
    paths: Sequence[str] | None = None,
    replace: bool = False,
) -> None:
    """Write `inputs` (uint8 [n, H, W, 3], or float16 or float32 [n, F]) as a store. Raises UserError as StoreWriter."""
    kind: Kind = "vectors" if inputs.ndim == 2 else "raw"
    shape, dtype = inputs.shape[1:], str(inputs.dtype)
    with StoreWriter(
        folder, name=name, classes=classes, domains=domains, kind=kind, shape=shape, dtype=dtype, replace=replace
    ) as writer:
        writer.append(inputs, labels.tolist(), domain_ids.tolist(), paths)


def require_free(folder: Path, replace: bool) -> None:
    """Raise UserError if no data set can be written to `folder`, of which `replace` allows to replace one."""
    if not folder.exists():
        return
    if not replace:
        raise UserError(f"{folder} exists already; use --replace to replace it, or choose another --name")
    if not (folder / FILE_NAME).is_file():
        raise UserError(f"{folder} holds no data set, and nothing else is replaced; choose another --name")


class PartialFolder:
    """A folder in the making beside its final place; locked while its process lives, so that leftovers are known."""

    def __init__(self, folder: Path) -> None:
        """Make one for `folder`, and remove those that killed processes left."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        _restore(folder)
        remove_leftovers(folder)
        self._final = folder
        # Locked before it gets the name by which others look for leftovers.
        new = Path(tempfile.mkdtemp(prefix=_NEW_PREFIX, dir=folder.parent))
        self._lock = (new / _LOCK_NAME).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        unique = new.name.removeprefix(_NEW_PREFIX)
        self.path = new.rename(folder.parent / f"{PARTIAL_PREFIX}{folder.name}-{unique}")

    def publish(self, replace: bool = False) -> None:
        """Give the folder its final name. Raises UserError if another process was faster, unless `replace`."""
        self.path.chmod(0o755)  # mkdtemp makes it private, but data sets are shared
        _sync(self.path)
        if replace and self._final.exists():
            _exchange(self.path, self._final)  # the earlier one is left to `remove`
        else:
            self._take_name()
        (self._final / _LOCK_NAME).unlink()  # not earlier: without it the folder would look like a leftover
        _sync(self._final.parent)

    def _take_name(self) -> None:
        try:
            self.path.rename(self._final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            raise UserError(f"{self._final} was made by another process meanwhile; that one is kept") from None

    def remove(self) -> None:
        """Remove what is not published, and release the lock."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def remove_leftovers(folder: Path) -> None:
    """Remove the partial folders of `folder` whose processes are dead."""
    for path in folder.parent.iterdir():
        if path.name.startswith(f"{PARTIAL_PREFIX}{folder.name}-") and not _is_locked(path / _LOCK_NAME):
            shutil.rmtree(path, ignore_errors=True)


def _exchange(first: Path, second: Path) -> None:
    """Let two folders exchange their names, at once where the file system can do so."""
    if _exchanged_at_once(first, second):
        return
    aside = second.with_name(f"{REPLACED_PREFIX}{second.name}")
    second.rename(aside)  # if we are killed now, the next writer takes it back
    try:
        first.rename(second)
    except OSError:
        aside.rename(second)
        raise
    aside.rename(first)


def _exchanged_at_once(first: Path, second: Path) -> bool:
    """By Linux's renameat2, which not every file system knows."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    if libc.renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    error = ctypes.get_errno()
    if error in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(error, os.strerror(error), str(second))


def _restore(folder: Path) -> None:
    """Give a data set its name back that was about to be replaced by a process that was killed."""
    aside = folder.with_name(f"{REPLACED_PREFIX}{folder.name}")
    if aside.exists() and not folder.exists():
        with contextlib.suppress(OSError):  # another process was faster
            aside.rename(folder)


def _is_locked(path: Path) -> bool:
    try:
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock file: left by an older version, or being removed right now
        return False
    return False


@contextmanager
def clear_store_errors(folder: Path) -> Iterator[None]:
    """Turn what the system says about writing to `folder` into a UserError of one line."""
    try:
        yield
    except OSError as error:
        remedy = "free some space, or choose another folder"
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            remedy = "choose a folder that can be written to"
        raise UserError(f"{folder} cannot be written ({reason_of(error)}); nothing is left of it; {remedy}") from None


class _Buffer:
    """Inputs waiting to be written together."""

    def __init__(self, header: Header) -> None:
        self._is_encoded = header.kind == "encoded"
        self._files: list[bytes] = []
        self._size = 0
        row_bytes = math.prod(header.shape) * np.dtype(header.dtype).itemsize
        capacity = 0 if self._is_encoded else max(1, BATCH_BYTES // row_bytes)
        self._array: NDArray[Any] = np.empty((capacity, *header.shape), header.dtype)

    def __len__(self) -> int:
        return len(self._files) if self._is_encoded else self._size

    def add(self, inputs: Rows) -> Iterator[Rows]:
        """Take inputs in; yields what is to be written, valid until the next is asked for."""
        return self._add_files(inputs) if self._is_encoded else self._add_array(np.asarray(inputs))

    def take(self) -> Rows:
        """All that waits; the buffer is empty afterwards."""
        rows: Rows = self._files if self._is_encoded else self._array[: self._size]
        self._files, self._size = [], 0
        return rows

    def _add_files(self, inputs: Rows) -> Iterator[Rows]:
        for content in inputs:
            self._files.append(bytes(content))
            self._size += len(content)
            if self._size >= BATCH_BYTES:
                yield self.take()

    def _add_array(self, inputs: NDArray[Any]) -> Iterator[Rows]:
        assert inputs.shape[1:] == self._array.shape[1:], f"{inputs.shape[1:]} is not {self._array.shape[1:]}"
        while len(inputs):
            count = min(len(inputs), len(self._array) - self._size)
            np.copyto(self._array[self._size : self._size + count], inputs[:count], casting="same_kind")
            self._size += count
            inputs = inputs[count:]
            if self._size == len(self._array):
                yield self.take()


class _Shards:
    """The shard files of a store in the making."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._done: list[tuple[int, int]] = []
        self._rows = 0
        self._file: IO[bytes] | None = None
        self._writer: Any = None

    def write(self, column: pa.Array) -> None:
        """Append a record batch, to the next shard if it would make this one too large."""
        batch = pa.RecordBatch.from_arrays([column], ["input"])
        if self._file is not None and self._file.tell() + batch.nbytes > self._max_bytes:
            self._close()
        if self._file is None:
            self._file = (self._folder / shard_name(len(self._done))).open("wb")
            self._writer = pa.ipc.new_file(self._file, batch.schema)
        self._writer.write_batch(batch)
        self._rows += len(batch)

    def finish(self) -> tuple[tuple[int, int], ...]:
        """Close the last one; rows and bytes of each."""
        if self._file is not None:
            self._close()
        return tuple(self._done)

    def abandon(self) -> None:
        """Close what is open, whatever happened."""
        if self._file is not None:
            self._file.close()

    def _close(self) -> None:
        assert self._file is not None
        self._writer.close()
        self._done.append((self._rows, self._file.tell()))
        _sync_and_close(self._file)
        self._file, self._rows = None, 0


def write_file(path: Path, batch: pa.RecordBatch) -> None:
    """Write one record batch as an Arrow IPC file, and wait until it is on the disk."""
    with path.open("wb") as file:
        with pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)
        _sync_and_close(file)


def _sync_and_close(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()


def _sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
