"""Data sets by name: the built-in ones, made on first use, and those imported into a data folder."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ndcl.data import digits
from ndcl.data.store import PARTIAL_PREFIX, Store, is_store
from ndcl.errors import unknown_name

DATASETS: dict[str, Callable[[Path], None]] = {"digits": digits.build}
"""Built-in data sets: name to what writes the store's folder."""
_BUILT_IN_DOMAINS = {"digits": digits.DOMAINS}


def open_dataset(name: str, folder: str | None = None) -> Store:
    """The data set `name` of the data folder; a built-in one is made first if it is not there.

    Several processes may ask at once: one makes it, the others wait. Raises UserError for an unknown name, or if the
    stored files are damaged or packages that a built-in set needs are missing.
    """
    root = data_folder(folder)
    if not is_store(root / name):
        if name not in DATASETS:
            raise unknown_name(f"data set in {root}:", name, dataset_names(folder))
        _build(root, name)
    return Store(root / name)


def domains_of(name: str, folder: str | None = None) -> tuple[str, ...]:
    """The domains of a data set, in order, without making it. Raises UserError as `open_dataset` does."""
    if name in _BUILT_IN_DOMAINS:
        return _BUILT_IN_DOMAINS[name]
    return open_dataset(name, folder).domains


def dataset_names(folder: str | None = None) -> tuple[str, ...]:
    """All names that `open_dataset` accepts: built-in ones and the data folder's, sorted."""
    root = data_folder(folder)
    stored = {path.name for path in root.glob("[!.]*") if is_store(path)}
    return tuple(sorted(stored | set(DATASETS)))


def data_folder(folder: str | None = None) -> Path:
    """Where data sets lie: `folder`, else the environment's NDCL_DATA, else ~/.cache/ndcl."""
    return Path(folder or os.environ.get("NDCL_DATA") or "~/.cache/ndcl").expanduser()


def _build(root: Path, name: str) -> None:
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root / f".{name}.lock"):
        if is_store(root / name):  # another process made it while this one waited
            return
        for leftover in root.glob(f"{PARTIAL_PREFIX}{name}-*"):  # of a killed process, since the lock is ours
            shutil.rmtree(leftover, ignore_errors=True)
        DATASETS[name](root / name)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; the system releases it if the process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
