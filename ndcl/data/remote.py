"""Data sets in object stores, copied once to each node and mapped from there.

A copy is named by its content's digest: it is made by one process while the others wait, checked against the digest
before it appears, and made anew only when the original's content has changed.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from ndcl.data.locks import locked
from ndcl.data.store import Store, is_store
from ndcl.data.store_format import FILE_NAME, Header, file_names, read_header
from ndcl.data.writer import PartialFolder, clear_write_errors
from ndcl.errors import UserError

SCHEMES = ("s3", "gs", "abfs", "abfss", "file")
_KEY = re.compile("://[^/@]*:[^/@]*@")
_SECRET_OPTIONS = re.compile("[?&](client_secret|sig)=")
"""Azure's, of an application and of a shared access signature."""
_FILES_AT_ONCE = 8
_CHUNK_BYTES = 2**23


def is_uri(text: str) -> bool:
    """Whether `text` is a URI rather than a name or a path."""
    return "://" in text


def join(uri: str, name: str) -> str:
    """The URI of something below `uri`, which may end in options (`?region=...`)."""
    place, mark, options = uri.partition("?")
    return f"{place.rstrip('/')}/{name}{mark}{options}"


def remote_header(uri: str) -> Header:
    """What a data set says of itself; only the end of its index is read. Raises UserError if there is none."""
    filesystem, folder = filesystem_of(uri)
    with _clear_read_errors(uri), filesystem.open_input_file(f"{folder}/{FILE_NAME}") as file:
        schema = pa.ipc.open_file(file).schema
    header = read_header(schema, shown(uri))
    if header.format == 1 or not re.fullmatch("[0-9a-f]{64}", header.digest):
        raise UserError(f"{shown(uri)}: it was written by an older version; make it again with this one")
    return header


def local_copy(uri: str, cache: Path) -> Path:
    """The folder below `cache` that holds the data set at `uri`; it is copied there first if it is not yet.

    Several processes may ask at once: one copies, the others wait. Raises UserError if the original cannot be read, or
    the copy not be written or not be complete; no part of it is left then.
    """
    header = remote_header(uri)
    folder = cache / header.digest[:32]
    if not is_store(folder):
        with clear_write_errors(folder), locked(cache / f".{folder.name}.lock"):
            if not is_store(folder):  # else another process copied it while this one waited
                _copy(uri, header, folder)
    return folder


def shown(uri: str) -> str:
    """The URI without a key or password, for messages."""
    return _KEY.sub("://***@", uri).partition("?")[0]


def _copy(uri: str, header: Header, folder: Path) -> None:
    partial = PartialFolder(folder)
    try:
        _require_space(uri, header, folder.parent)
        filesystem, source = filesystem_of(uri)
        with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
            jobs = [
                pool.submit(_copy_file, uri, filesystem, f"{source}/{name}", partial.path / name)
                for name in file_names(header)
            ]
            try:
                for job in jobs:
                    job.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        _verify(uri, header, partial.path)
        partial.publish()
    finally:
        partial.remove()


def _copy_file(uri: str, filesystem: Any, source: str, target: Path) -> None:
    cache = target.parent.parent
    with clear_write_errors(cache), target.open("wb") as file:
        with _clear_read_errors(uri), filesystem.open_input_stream(source) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                with clear_write_errors(cache):
                    file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _verify(uri: str, header: Header, copy: Path) -> None:
    try:
        store = Store(copy)
        store.verify()
        is_same = store.digest == header.digest
    except UserError:
        is_same = False
    if not is_same:
        raise UserError(
            f"{shown(uri)}: the copy does not have the digest of the original; the transfer was broken or the original "
            "is damaged or being replaced: try again, or upload it again"
        )


def _require_space(uri: str, header: Header, folder: Path) -> None:
    needed, free = sum(size for _, size in header.shards), shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{shown(uri)}: a copy needs {needed / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB free; free some "
            "space, or set NDCL_CACHE to a folder on a larger disk"
        )


def filesystem_of(uri: str) -> tuple[Any, str]:
    """The file system of a URI, and the path in it. Raises UserError for a kind of URI that is not known, and for one
    with a key, which would be written down with the results.
    """
    from pyarrow import fs  # loads the object stores' clients, which local data need not wait for

    if _KEY.search(uri) or _SECRET_OPTIONS.search(uri):
        raise UserError(
            f"{shown(uri)}: it holds a key, which would be written down with the results; leave it out, and give it by "
            "the environment or the machine's role"
        )
    if uri.partition("://")[0] not in SCHEMES:
        raise UserError(f"{shown(uri)}: unknown kind of place; valid: {', '.join(f'{s}://' for s in SCHEMES)}")
    with _clear_read_errors(uri):
        filesystem, path = fs.FileSystem.from_uri(uri)
    return filesystem, path


@contextmanager
def _clear_read_errors(uri: str) -> Iterator[None]:
    """Turn what an object store's client says into a UserError of one line."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{shown(uri)} holds no data set, or not all of it; check the address") from None
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{shown(uri)} cannot be read ({reason}); check the address, the network and your credentials"
        ) from None


def files_below(filesystem: Any, folder: str) -> list[str]:
    """The files below a folder, by their paths relative to it; none where there is no such folder.

    Folders are no objects: Google's storage, through pyarrow, tells of none that was not made on purpose.
    """
    from pyarrow import fs

    infos = filesystem.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
    return [info.path.removeprefix(f"{folder}/") for info in infos if info.is_file]


def fetch_files(filesystem: Any, folder: str, names: Iterable[str], target: Path) -> None:
    """Copy files below a folder to `target`, which is made, with the folders that they lie in."""

    def fetch(name: str) -> None:
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        with filesystem.open_input_stream(f"{folder}/{name}") as source, copy.open("wb") as file:
            shutil.copyfileobj(source, file, _CHUNK_BYTES)

    target.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        for _ in pool.map(fetch, names):
            pass


def fetch_folder(filesystem: Any, folder: str, target: Path) -> None:
    """Copy a folder and all below it to `target`, which is made."""
    fetch_files(filesystem, folder, files_below(filesystem, folder), target)


def remove_folder(filesystem: Any, folder: str) -> None:
    """Remove a folder and all below it, if it is there."""
    try:
        filesystem.delete_dir(folder)
    except FileNotFoundError:  # Google's storage, at the end: the folder itself is no object
        if files_below(filesystem, folder):
            raise
