"""Data sets in object stores, copied once to each node and mapped from there.

A copy is named by its content's digest: it is made by one process while the others wait, checked against the digest
before it appears, and made anew only when the original's content has changed.
"""

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa

from ndcl.data.store.format import FILE_NAME, Header, file_names, read_header
from ndcl.data.store.store import Store, is_store
from ndcl.data.store.writer import PartialFolder, clear_store_errors
from ndcl.errors import UserError
from ndcl.files import locked
from ndcl.filesystems import CHUNK_BYTES, FILES_AT_ONCE, clear_errors, files_below, filesystem_of, shown

UNFINISHED = "unfinished-push"
"""Beside the files of a data set that is on its way: the digest that it will have."""


def remote_header(uri: str) -> Header:
    """What a data set says of itself; only the end of its index is read. Raises UserError if there is none."""
    filesystem, folder = filesystem_of(uri)
    with clear_read_errors(uri), filesystem.open_input_file(f"{folder}/{FILE_NAME}") as file:
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
        with clear_store_errors(folder), locked(cache / f".{folder.name}.lock"):
            if not is_store(folder):  # else another process copied it while this one waited
                _copy(uri, header, folder)
    return folder


def _copy(uri: str, header: Header, folder: Path) -> None:
    partial = PartialFolder(folder)
    try:
        _require_space(uri, header, folder.parent)
        filesystem, source = filesystem_of(uri)
        with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
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
    with clear_store_errors(cache), target.open("wb") as file:
        with clear_read_errors(uri), filesystem.open_input_stream(source) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                with clear_store_errors(cache):
                    file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def is_copy(header: Header, folder: Path) -> bool:
    """Whether `folder` holds, whole and undamaged, the data set that `header` is of."""
    try:
        store = Store(folder)
        store.verify()
    except UserError:
        return False
    return store.digest == header.digest


def _verify(uri: str, header: Header, copy: Path) -> None:
    if not is_copy(header, copy):
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


def clear_read_errors(uri: str, then: str = "") -> AbstractContextManager[None]:
    """Turn what the client says about reading a data set into a UserError of one line; `then` says what to do."""
    return clear_errors(
        f"{shown(uri)}: the data set can't be read",
        missing=f"{shown(uri)} holds no data set, or not all of it; check the address",
        then=then,
    )


def names_below(uri: str) -> list[str]:
    """The data sets in a folder, whole ones, sorted. Raises UserError if it can't be read."""
    filesystem, folder = filesystem_of(uri)
    with clear_read_errors(uri):
        found = [Path(name) for name in files_below(filesystem, folder)]
    return sorted(path.parent.name for path in found if path.name == FILE_NAME and len(path.parts) == 2)


def is_there(uri: str) -> bool:
    """Whether a data set lies at `uri`. Raises UserError if that can't be known."""
    filesystem, folder = filesystem_of(uri)
    with clear_read_errors(uri):
        return bool(filesystem.get_file_info(f"{folder}/{FILE_NAME}").is_file)
