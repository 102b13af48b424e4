"""A data set on its way to an object store or a shared folder, where a cluster's nodes and other people find it.

Its shards go first and its index last, so that what is there in part is never taken for a data set. Meanwhile a mark
says which content is on its way: a push of the same content resumes, and sends only what isn't there whole.
"""

import errno
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from ndcl.data.copying import Progress, Tally, copy_all
from ndcl.data.remote import UNFINISHED
from ndcl.data.store.format import FILE_NAME, Header, read_header, shard_name, short_digest
from ndcl.data.store.store import Store, reopened
from ndcl.errors import UserError
from ndcl.filesystems import CHUNK_BYTES, clear_errors, filesystem_of, is_uri, join, local_path, shown

_OF_A_STORE = re.compile(rf"inputs-\d+\.arrow|{re.escape(FILE_NAME)}|{UNFINISHED}")
_PARTIAL = ".partial"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CHUNKS_IN_FLIGHT = 4
"""Of each file: pyarrow sends in the background what it is given, and would keep a whole shard waiting in memory."""
RESUMES = "the same command resumes"


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A data set that has been pushed or pulled."""

    header: Header
    num_bytes: int
    """Of all its files."""
    moved_bytes: int
    """Of those that had to be copied."""


def place_in(place: str, name: str) -> str:
    """The URI of the data set `name` in the folder `place`, a path or URI; `place` itself where that ends in the name.

    Raises UserError as `local_path` does.
    """
    folder = local_path(place)
    if folder is not None:
        return (folder if folder.name == name else folder / name).as_uri()
    bucket, _, below = place.partition("://")[2].partition("?")[0].rstrip("/").partition("/")
    return place if bucket and below.rpartition("/")[2] == name else join(place, name)


def push(store: Store, uri: str, *, replace: bool = False, progress: Progress = lambda done, total: None) -> Moved:
    """Have the data set at `uri`; what an earlier push of the same content brought there stays.

    With `replace` another data set gives way; until the new one is whole there is none. Raises UserError if anything
    else lies there, if the store is damaged or replaced meanwhile, or if the place can't be written to.
    """
    assert is_uri(uri), uri
    if store.header.format == 1:
        raise UserError(f"{store.folder}: it was written by an older version; import it again with this one")
    target = _Target(uri, *filesystem_of(uri))
    with _clear_errors(uri):
        return _pushed(store, target, replace, progress)


def _pushed(store: Store, target: "_Target", replace: bool, progress: Progress) -> Moved:
    index = (store.folder / FILE_NAME).read_bytes()
    shards = {shard_name(number): size for number, (_, size) in enumerate(store.header.shards)}
    total = sum(shards.values()) + len(index)
    there, earlier = target.sizes(), target.digest()
    is_same = earlier == store.digest
    if is_same and FILE_NAME in there and shards.items() <= there.items():
        return Moved(header=store.header, num_bytes=total, moved_bytes=0)
    if not is_same:
        _require_replaceable(target, there, earlier, replace)
    missing = {name: size for name, size in shards.items() if not is_same or there.get(name) != size}
    target.require_room(sum(missing.values()))
    store.verify()
    target.begin(store.digest, [] if is_same else there.keys() - {FILE_NAME})
    tally = Tally(progress, total - len(index) - sum(missing.values()), total)
    copy_all([partial(target.send_file, store.folder / name, tally) for name in missing], tally)
    reopened(store.folder, store.digest)
    if target.digest() != store.digest:
        raise UserError(f"{target.shown}: another data set was pushed there meanwhile; look who did, then push again")
    target.send(FILE_NAME, BytesIO(index), tally)
    target.end()
    return Moved(header=store.header, num_bytes=total, moved_bytes=sum(missing.values()) + len(index))


def _require_replaceable(target: "_Target", there: dict[str, int], earlier: str | None, replace: bool) -> None:
    """Raise UserError for something else than a data set, and without `replace` for another one."""
    foreign = sorted(name for name in there if not _OF_A_STORE.fullmatch(name.removesuffix(_PARTIAL)))
    if foreign:
        raise UserError(
            f"{target.shown}: other files lie there ({', '.join(foreign[:3])}{', ...' if foreign[3:] else ''}), which "
            "nothing replaces; give another place"
        )
    if there and not replace:
        other = f"another data set (digest {short_digest(earlier)})" if earlier else "part of a data set"
        raise UserError(f"{target.shown}: {other} lies there; use --replace to replace it, or give another place")


class _Target:
    """The folder of a data set in an object store, or on a disk."""

    def __init__(self, uri: str, filesystem: Any, folder: str) -> None:
        self.uri, self.shown = uri, shown(uri)
        self._filesystem, self._folder = filesystem, folder
        self._on_disk = local_path(uri)

    def sizes(self) -> dict[str, int]:
        """The files that are there, and their bytes. Raises UserError if there is no such bucket."""
        from pyarrow import fs

        infos = self._filesystem.get_file_info(fs.FileSelector(self._folder, recursive=True, allow_not_found=True))
        found = {info.path.removeprefix(f"{self._folder}/"): int(info.size) for info in infos if info.is_file}
        if not found and self._on_disk is None:
            self._require_bucket()
        return found

    def digest(self) -> str | None:
        """Of the data set that is there, else of the one that is on its way; None for neither, or a damaged one."""
        with suppress(FileNotFoundError), self._filesystem.open_input_file(self._path(FILE_NAME)) as file:
            try:
                return read_header(pa.ipc.open_file(file).schema, self.shown).digest
            except (pa.ArrowInvalid, UserError):
                return None
        with suppress(FileNotFoundError), self._filesystem.open_input_stream(self._path(UNFINISHED)) as stream:
            return bytes(stream.read()).decode(errors="replace")
        return None

    def require_room(self, num_bytes: int) -> None:
        """Raise UserError if a disk is too small for so much more."""
        if self._on_disk is None:
            return
        existing = next(path for path in (self._on_disk, *self._on_disk.parents) if path.is_dir())
        free = shutil.disk_usage(existing).free
        if num_bytes > free:
            raise UserError(
                f"{self.shown}: {num_bytes / 1e9:.1f} GB are to come and {free / 1e9:.1f} GB are free there; make room"
            )

    def begin(self, digest: str, others: Iterable[str]) -> None:
        """Mark what is on its way, once the index and the files of `others` content are gone."""
        if self._on_disk is not None:
            self._filesystem.create_dir(self._folder)
        for name in (FILE_NAME, *others):
            self._remove(name)
        with self._filesystem.open_output_stream(self._path(UNFINISHED)) as stream:
            stream.write(digest.encode())

    def send_file(self, file: Path, tally: Tally) -> None:
        """Send a file under its own name."""
        with file.open("rb") as source:
            self.send(file.name, source, tally)

    def send(self, name: str, source: BinaryIO, tally: Tally) -> None:
        """Send a file. An object store shows it once all of it is there, and so do we on a disk."""
        path = self._path(name)
        written = path if self._on_disk is None else f"{path}{_PARTIAL}"
        with self._filesystem.open_output_stream(written) as stream:
            for number, chunk in enumerate(iter(partial(source.read, CHUNK_BYTES), b""), 1):
                stream.write(chunk)
                tally.add(len(chunk))
                if number % CHUNKS_IN_FLIGHT == 0:
                    stream.flush()
        if written != path:
            self._filesystem.move(written, path)

    def end(self) -> None:
        """Take away the mark."""
        self._remove(UNFINISHED)

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._filesystem.delete_file(self._path(name))

    def _require_bucket(self) -> None:
        bucket = self._folder.partition("/")[0]
        if self._filesystem.get_file_info(bucket).type.name == "NotFound":
            raise UserError(f"{self.shown}: there is no bucket '{bucket}'; make it first, or correct its name")

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"


@contextmanager
def _clear_errors(uri: str) -> Iterator[None]:
    """Turn what the file system's client says into a UserError of one line."""
    with clear_errors(f"{shown(uri)}: the data set can't be put there", then=f"; {RESUMES}"):
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            if getattr(error, "errno", None) in _FULL:
                raise UserError(f"{shown(uri)}: the disk is full; make room, and {RESUMES}") from None
            raise
