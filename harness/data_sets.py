"""The data set that a command's argument names, wherever it is."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ndcl.data.store import Store


def stored(name: str, folder: str | None) -> "Store | None":
    """The data set in the data folder; None if it is only in the catalogue. Raises UserError if it is nowhere."""
    from ndcl.data import dataset_names, open_dataset
    from ndcl.data.catalogue import find_entry, plain

    if "/" in name or "://" in (folder or os.environ.get("NDCL_DATA", "")):  # a path, or not on this machine
        return open_dataset(name, folder)
    same = [found for found in dataset_names(folder) if plain(found) == plain(name)]
    if not same and find_entry(name) is not None:
        return None
    return open_dataset(name if name in same or not same else same[0], folder)
