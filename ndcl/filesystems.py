"""Files by path or URI (s3://, gs://, abfs://, file://), through pyarrow."""

import re
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from ndcl.errors import UserError

SCHEMES = ("s3", "gs", "abfs", "abfss", "file")
_KEY = re.compile("://[^/@]*:[^/@]*@")
_SECRET_OPTIONS = re.compile("[?&](client_secret|sig)=")
"""Azure's, of an application and of a shared access signature."""
FILES_AT_ONCE = 8
CHUNK_BYTES = 2**23


def is_uri(text: str) -> bool:
    """Whether `text` is a URI rather than a name or a path."""
    return "://" in text


def require_no_uri(place: object) -> None:
    """Raise UserError for a URI where only files of this machine are read; `place` may be a path made of it."""
    if re.match("[A-Za-z][A-Za-z0-9+.-]+:/", str(place)):
        raise UserError(f"{place}: URIs are not read here; download it, and give its path")


def local_path(place: str) -> Path | None:
    """The absolute path of a place on a disk, given as a path or a `file://` URI; None for one in an object store.

    All spellings of one place give the same path: relative ones, `..`, `~`, symbolic links. Raises UserError for a
    `file://` URI of another machine, which a relative path in a URI looks like.
    """
    if not place.lower().startswith("file:"):
        return None if is_uri(place) else Path(place).expanduser().resolve()
    path = unquote(place[len("file:") :])
    if path.startswith("//"):
        host, _, below = path[2:].partition("/")
        if host not in ("", "localhost"):
            raise UserError(f"{place}: it names the machine {host!r}; give the whole path, as file:///PATH or alone")
        path = f"/{below}"
    return Path(path).resolve()


def join(uri: str, name: str) -> str:
    """The URI of something below `uri`, which may end in options (`?region=...`)."""
    place, mark, options = uri.partition("?")
    return f"{place.rstrip('/')}/{name}{mark}{options}"


def shown(uri: str) -> str:
    """The URI without a key or password, for messages."""
    return _KEY.sub("://***@", uri).partition("?")[0]


def filesystem_of(uri: str) -> tuple[Any, str]:
    """The file system of a URI, and the path in it. Raises UserError for a kind of URI that is not known, and for one
    with a key, which would be written down with the results.
    """
    from pyarrow import fs  # loads the object stores' clients, which local data need not wait for

    if _KEY.search(uri) or _SECRET_OPTIONS.search(uri):
        raise UserError(
            f"{shown(uri)}: it holds a key, which would be written down with the results; leave it out, and let "
            "the environment or the machine's role give it"
        )
    if uri.partition("://")[0] not in SCHEMES:
        raise UserError(f"{shown(uri)}: unknown kind of place; valid: {', '.join(f'{s}://' for s in SCHEMES)}")
    path = local_path(uri)
    if path is not None:  # pyarrow takes no blanks and no letters beyond ASCII in a file:// URI
        return fs.LocalFileSystem(), str(path)
    with clear_errors(f"{shown(uri)} can't be opened"):
        filesystem, below = fs.FileSystem.from_uri(uri)
    return filesystem, below


@contextmanager
def clear_errors(problem: str, *, missing: str | None = None, then: str = "") -> Iterator[None]:
    """Turn what a file system's client says into a UserError of one line: `problem (reason); check ...`.

    `missing` is the whole line for a file that isn't there, if that needs another; `then` what to do after the checks.
    """
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        if missing is not None and isinstance(error, FileNotFoundError):
            raise UserError(missing) from None
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{problem} ({reason}); check the address, the network and your credentials{then}") from None


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
            shutil.copyfileobj(source, file, CHUNK_BYTES)

    target.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
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
