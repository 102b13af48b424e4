"""Which kind of source the user has given."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote

from ndcl.data.importing.arrays import ArraySource
from ndcl.data.importing.folders import FolderSource, read_images
from ndcl.data.importing.lists import LIST_SUFFIXES, Columns, ListSource
from ndcl.data.importing.names import shown
from ndcl.data.importing.parquet import ParquetSource
from ndcl.data.importing.source import Source
from ndcl.data.importing.walk import Folder, is_image_name
from ndcl.errors import UserError
from ndcl.filesystems import require_no_uri

_ACCEPTED = "a folder DOMAIN/CLASS/IMAGE, a folder of Parquet files, .parquet files or one .npz file"
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


def open_source(
    paths: Sequence[Path],
    *,
    classes: Sequence[str] = (),
    domains: Sequence[str] = (),
    lists: Sequence[Path] = (),
    columns: Columns | None = None,
) -> Source:
    """The source at one path, or at several if they are Parquet files; or the images of a folder that `lists` name.

    `classes` and `domains` name the numbers in label and domain columns; of lists with names they choose. Raises
    UserError for what is no source.
    """
    for path in paths:
        if not path.exists():
            require_no_uri(path)
            raise UserError(f"{shown(path)} does not exist; give {_ACCEPTED}")
    first = paths[0]
    if lists:
        return _open_lists(paths, lists, columns, classes, domains)
    if columns:
        raise UserError("--columns names the columns of a list; give the list with --list")
    if all(_is_parquet(path) and path.is_file() for path in paths):
        return _open_parquet([path.absolute() for path in paths], classes, domains)
    if is_image_name(first.name):
        whole = quote(shown(first)) if len(paths) == 1 else "FOLDER"
        raise UserError(f"{shown(first)} is an image without a class; to classify it: ndcl predict MODEL {whole}")
    if len(paths) > 1:
        raise UserError(
            f"{shown(first)} and {len(paths) - 1} more: only Parquet files may be several; give {_ACCEPTED}"
        )
    if first.is_dir():
        return _open_folder(first, classes, domains)
    if first.suffix.lower() == ".npz":
        return ArraySource(first, classes=classes, domains=domains)
    if first.suffix.lower() in LIST_SUFFIXES:
        raise UserError(f"{shown(first)} is a list; give the folder of its images, and --list {quote(shown(first))}")
    if first.suffix.lower() in _ARCHIVES:
        raise UserError(f"{shown(first)} is an archive; unpack it and give {_ACCEPTED}")
    raise UserError(f"{shown(first)} is no data set that can be imported; give {_ACCEPTED}")


def _open_parquet(files: Sequence[Path], classes: Sequence[str], domains: Sequence[str]) -> Source:
    twice = [file for number, file in enumerate(files) if any(file.samefile(other) for other in files[:number])]
    if twice:
        raise UserError(f"{shown(twice[0])} is given twice; give each file once")
    root = Path(os.path.commonpath([file.parent for file in files]))
    return ParquetSource(files, root=root, classes=classes, domains=domains)


def _open_lists(
    paths: Sequence[Path],
    lists: Sequence[Path],
    columns: Columns | None,
    classes: Sequence[str],
    domains: Sequence[str],
) -> Source:
    if len(paths) > 1 or not paths[0].is_dir():
        raise UserError(f"{shown(paths[-1])}: with --list, give one folder to which the paths of the list are relative")
    return ListSource(paths[0], lists, columns=columns, classes=classes, domains=domains)


def _open_folder(folder: Path, classes: Sequence[str], domains: Sequence[str]) -> Source:
    tree = read_images(folder)
    parquet = [inner.path / name for inner in tree.below() for name in inner.files if _is_parquet(Path(name))]
    if parquet:
        image = next((inner for inner in _deep(tree) if inner.has_images), None)
        if image is not None:
            raise UserError(
                f"{shown(folder)} holds Parquet ({shown(parquet[0])}) and images (in {shown(image.path)}); give the "
                ".parquet files, or the folder of images alone"
            )
        return ParquetSource(parquet, root=folder, classes=classes, domains=domains)
    if classes or domains:
        raise UserError("folders name their domains and classes themselves; leave --domains and --classes out")
    return FolderSource(tree)


def _deep(tree: Folder) -> Iterator[Folder]:
    """The folders in which images of a class could lie; a picture above them is no data."""
    return (inner for domain in tree.folders for name in domain.folders for inner in name.below())


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet"
