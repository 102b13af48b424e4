"""The five public data sets: what is in them, where they come from and what may be done with them.

The counts are those of the file lists that published experiments used; see docs/data.md.
"""

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndcl.errors import unknown_name

_FILES = ("pacs", "vlcs", "officehome", "terraincognita", "domainnet")


@dataclass(frozen=True, kw_only=True)
class OpenFile:
    """A file that anyone may fetch."""

    url: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Another edition of a data set that is in use."""

    name: str
    note: str
    totals: NDArray[np.int64]
    """[D] images of each domain."""
    counts: NDArray[np.int64] | None
    """[D, K] images of each domain and class, if they are known."""
    options: str | None = None
    """Of the import that makes it from the official files; None if none does."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One data set of the catalogue."""

    name: str
    title: str
    domains: tuple[str, ...]
    classes: tuple[str, ...]
    """In the order of their indices, which is that of their names."""
    counts: NDArray[np.int64]
    """[D, K] images of each domain and class."""
    source: str
    licence: str
    variants: tuple[Variant, ...]
    files: tuple[OpenFile, ...]
    """Empty where no file of all images may be fetched without a form or a login."""
    by_hand: str
    """What to do with the official files before they can be imported."""
    folder: str
    """The folder to import then."""
    options: str = ""
    """Of that import, if it needs any."""

    @property
    def how_to_get(self) -> str:
        """From the official source to the data set, in one line."""
        return f"get it from {self.source}, {self.by_hand}, then: {self.command()}"

    def command(self, variant: Variant | None = None) -> str:
        """What makes it, or one of its variants, from the official files."""
        options = self.options if variant is None else variant.options or ""
        return " ".join(filter(None, ("ndcl data import", self.folder, options, f"--name {self.name}")))


def _read(file_name: str) -> Entry:
    text = (files("ndcl.data.catalogue") / f"{file_name}.json").read_text()
    values: dict[str, Any] = json.loads(text)
    domains = values["domains"]
    values["variants"] = tuple(_variant(domains, **variant) for variant in values["variants"])
    values["files"] = tuple(OpenFile(**file) for file in values["files"])
    values["counts"] = np.array([values["counts"][domain] for domain in domains], np.int64)
    return Entry(**{**values, "domains": tuple(domains), "classes": tuple(values["classes"])})


def _variant(
    domains: list[str],
    name: str,
    note: str,
    totals: dict[str, int],
    counts: dict[str, list[int]] | None,
    options: str | None = None,
) -> Variant:
    return Variant(
        name=name,
        note=note,
        totals=np.array([totals[domain] for domain in domains], np.int64),
        counts=np.array([counts[domain] for domain in domains], np.int64) if counts else None,
        options=options,
    )


def plain(name: str) -> str:
    """A name without what collections write differently: case, hyphens, underscores and blanks."""
    return "".join(character for character in name.lower() if character not in "_- ")


CATALOGUE: dict[str, Entry] = {entry.name: entry for entry in map(_read, _FILES)}
"""All entries, by name."""


def find_entry(name: str) -> Entry | None:
    """The entry of that name, whatever its case, hyphens and underscores."""
    return next((entry for entry in CATALOGUE.values() if plain(entry.name) == plain(name)), None)


def entry_of(name: str) -> Entry:
    """The entry of that name. Raises UserError if there is none."""
    entry = find_entry(name)
    if entry is None:
        raise unknown_name("data set of the catalogue:", name, CATALOGUE)
    return entry
