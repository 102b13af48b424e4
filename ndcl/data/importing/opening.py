"""Which kind of source the user has given."""

import os
from collections.abc import Sequence
from pathlib import Path

from ndcl.data.importing.arrays import ArraySource
from ndcl.data.importing.folders import FolderSource
from ndcl.data.importing.parquet import ParquetSource, find_parquet
from ndcl.data.importing.source import Source
from ndcl.errors import UserError

_ACCEPTED = "a folder DOMAIN/CLASS/IMAGE, a folder of Parquet files, .parquet files or one .npz file"
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


def open_source(paths: Sequence[Path], *, classes: Sequence[str] = (), domains: Sequence[str] = ()) -> Source:
    """The source at one path, or at several if they are Parquet files.

    `classes` and `domains` name the numbers in label and domain columns. Raises UserError for what is no source.
    """
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} does not exist; give {_ACCEPTED}")
    first = paths[0]
    if all(path.suffix == ".parquet" and path.is_file() for path in paths):
        root = Path(os.path.commonpath([path.absolute().parent for path in paths]))
        return ParquetSource([path.absolute() for path in paths], root=root, classes=classes, domains=domains)
    if len(paths) > 1:
        raise UserError(f"{first} and {len(paths) - 1} more: only Parquet files may be several; give {_ACCEPTED}")
    if first.is_dir():
        return _open_folder(first, classes, domains)
    if first.suffix == ".npz":
        return ArraySource(first, classes=classes, domains=domains)
    if first.suffix.lower() in _ARCHIVES:
        raise UserError(f"{first} is an archive; unpack it and give {_ACCEPTED}")
    raise UserError(f"{first} is no data set that can be imported; give {_ACCEPTED}")


def _open_folder(folder: Path, classes: Sequence[str], domains: Sequence[str]) -> Source:
    parquet = find_parquet(folder)
    if parquet:
        return ParquetSource(parquet, root=folder, classes=classes, domains=domains)
    if classes or domains:
        raise UserError("folders name their domains and classes themselves; leave --domains and --classes out")
    return FolderSource(folder)
