"""The data set that a command's argument names, wherever it is."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ndcl.errors import UserError

if TYPE_CHECKING:
    from ndcl.data import Store
    from ndcl.data.catalogue import Entry

Name = Annotated[str, typer.Argument(metavar="NAME", help="A data set, by its name in the data folder or catalogue.")]
Folder = Annotated[
    str | None, typer.Option("--folder", metavar="DIR", help="Where data sets lie; default: NDCL_DATA, ~/.cache/ndcl.")
]
Replace = Annotated[
    bool, typer.Option("--replace", help="Replace the data set of that name, once the new one is whole.")
]


def stored(name: str, folder: str | None) -> "Store | None":
    """The data set in the data folder; None if it is only in the catalogue. Raises UserError if it is nowhere."""
    from ndcl.data import dataset_names, open_dataset
    from ndcl.data.catalogue import find_entry, plain

    if "/" in name or "://" in (folder or os.environ.get("NDCL_DATA", "")):  # a path, or not on this machine
        return open_dataset(name, folder)
    if find_entry(name) is not None and plain(name) not in map(plain, dataset_names(folder)):
        return None
    return open_dataset(name, folder)


def present(name: str, folder: str | None) -> "Store":
    """The data set of this name. Raises UserError if it is not here, with how to get it if the catalogue knows it."""
    from ndcl.data.catalogue import find_entry

    store = stored(name, folder)
    if store is None:
        entry = find_entry(name)
        assert entry is not None
        raise UserError(f"{entry.name} is not in {local_root(folder)}; {how_to_get(entry, folder)}")
    return store


def how_to_get(entry: "Entry", folder: str | None) -> str:
    """The command that brings a data set of the catalogue, or where to find it by hand."""
    from harness.config.commands import ndcl_command

    by = f"get it by: {ndcl_command('data', 'download', entry.name, folder=folder)}"
    return by if entry.files else entry.how_to_get


def local_root(folder: str | None) -> Path:
    """The local folder of data sets. Raises UserError if that is a URI."""
    from ndcl.data import data_folder

    return data_folder(folder)
