"""What is wrong with a cluster: where, what, and the remedy, in one line each. Pure."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from harness.cluster.files import ClusterFile


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    where: str
    """The dotted key in the file, a line of it, or what of the account it is about."""
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.remedy}"


Check = Callable[[ClusterFile], Iterator[Finding]]
"""Yields what it finds wrong with one side of a cluster."""


def unknown(key: str, valid: Iterable[str], where: str) -> Finding:
    """The finding for a key that does not exist: a typo, mostly."""
    names = sorted(valid)
    near = difflib.get_close_matches(key, names, n=1)
    remedy = f"did you mean '{near[0]}'?" if near else f"valid: {', '.join(names)}"
    return Finding(where=f"{where}.{key}" if where else key, what="unknown key", remedy=remedy)
