"""Data sets by name, path or URI: the built-in ones, made on first use, and those imported into a data folder."""

import os
from collections.abc import Callable
from pathlib import Path

from ndcl.data.catalogue import plain
from ndcl.data.digits import digits
from ndcl.data.remote import is_there, local_copy, names_below, remote_header
from ndcl.data.store.format import Header
from ndcl.data.store.store import Store, is_store
from ndcl.data.store.writer import clear_store_errors
from ndcl.errors import UserError, unknown_name
from ndcl.files import locked
from ndcl.filesystems import is_uri, join

DATASETS: dict[str, Callable[[Path], None]] = {"digits": digits.build}
"""Built-in data sets: name to what writes the store's folder."""
_BUILT_IN_DOMAINS = {"digits": digits.DOMAINS}
_DEFAULT_FOLDER = "~/.cache/ndcl"


def open_dataset(name: str, folder: str | None = None) -> Store:
    """The data set `name` of the data folder; a built-in one is made first if it is not there.

    Names match whatever their case, blanks, hyphens and underscores, if only one does. `name` may also be the path or
    the URI of a store, and `folder` a URI (s3://, gs://, abfs://, file://): then the store is copied to this node's
    cache, unless it is there already. Several processes may ask at once: one makes or
    copies it, the others wait. Raises UserError for an unknown name, if the stored files are damaged or cannot be had,
    or if packages that a built-in set needs are missing.
    """
    place = _place(name, folder)
    if isinstance(place, str):
        return Store(local_copy(place, cache_folder()))
    if not is_store(place) and not _is_path(name):
        if name not in DATASETS:
            raise unknown_name(f"data set in {place.parent}:", name, dataset_names(folder))
        _build(place.parent, name)
    return Store(place)


def domains_of(name: str, folder: str | None = None) -> tuple[str, ...]:
    """The domains of a data set, in order, without making or copying it. Raises UserError as `open_dataset` does."""
    if name in _BUILT_IN_DOMAINS:
        return _BUILT_IN_DOMAINS[name]
    place = _place(name, folder)
    return remote_header(place).domains if isinstance(place, str) else open_dataset(name, folder).domains


def header_of(name: str, folder: str | None = None) -> Header:
    """What the data set that lies under `name` now says of itself, without copying it. Raises UserError as
    `open_dataset` does.
    """
    place = _place(name, folder)
    return remote_header(place) if isinstance(place, str) else open_dataset(name, folder).header


def is_in_store(name: str, folder: str) -> bool:
    """Whether the data set `name` lies in the remote `folder`, or is made on first use. Raises UserError if that can't
    be known, such as without credentials.
    """
    place = _place(name, folder)
    return isinstance(place, Path) or is_there(place)


def header_here(name: str, folder: str | None = None) -> Header | None:
    """What the data set that lies under `name` on this machine says of itself; None if it is elsewhere or not there.

    Nothing is made or fetched. Raises UserError if it is damaged.
    """
    place = _place(name, folder)
    return Store(place).header if isinstance(place, Path) and is_store(place) else None


def dataset_names(folder: str | None = None) -> tuple[str, ...]:
    """All names of the local data folder that `open_dataset` accepts, built-in ones included, sorted."""
    root = data_folder(folder)
    stored = {path.name for path in root.glob("[!.]*") if is_store(path)}
    return tuple(sorted(stored | set(DATASETS)))


def data_folder(folder: str | None = None) -> Path:
    """Where data sets lie: `folder`, else the environment's NDCL_DATA, else ~/.cache/ndcl.

    Raises UserError if that is a URI, where data sets are read but not made.
    """
    chosen = _folder(folder)
    if is_uri(chosen):
        raise UserError(f"{chosen} is not a local folder; give one, and upload what is made there")
    return Path(chosen).expanduser()


def cache_folder() -> Path:
    """Where copies of remote data sets lie: the environment's NDCL_CACHE, else ~/.cache/ndcl/remote."""
    return Path(os.environ.get("NDCL_CACHE") or f"{_DEFAULT_FOLDER}/remote").expanduser()


def _place(name: str, folder: str | None) -> Path | str:
    """The path or URI of a data set's store."""
    chosen = _folder(folder)
    if is_uri(name):
        return name
    if _is_path(name):
        return Path(name).expanduser()
    if is_uri(chosen):
        return Path(_DEFAULT_FOLDER).expanduser() / name if name in DATASETS else _spelled_there(chosen, name)
    return _spelled(Path(chosen).expanduser(), name)


def _spelled(root: Path, name: str) -> Path:
    """The place of a data set of this name, or of the only one that differs in case, blanks, `-` and `_` alone."""
    if is_store(root / name) or name in DATASETS:
        return root / name
    same = [path for path in root.glob("[!.]*") if plain(path.name) == plain(name) and is_store(path)]
    return same[0] if len(same) == 1 else root / name


def _spelled_there(folder: str, name: str) -> str:
    """As `_spelled`, where data sets lie in an object store."""
    if is_there(join(folder, name)):
        return join(folder, name)
    same = [other for other in names_below(folder) if plain(other) == plain(name)]
    return join(folder, same[0] if len(same) == 1 else name)


def _folder(folder: str | None) -> str:
    return folder or os.environ.get("NDCL_DATA") or _DEFAULT_FOLDER


def _is_path(name: str) -> bool:
    return "/" in name or name.startswith(("~", "."))


def _build(root: Path, name: str) -> None:
    with clear_store_errors(root / name), locked(root / f".{name}.lock"):
        if not is_store(root / name):  # else another process made it while this one waited
            DATASETS[name](root / name)
