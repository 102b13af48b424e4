"""The same image twice: found by content, whatever the files' names and encodings."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ndcl.data.importing.conversion import DIGEST_BYTES
from ndcl.data.importing.source import Item


@dataclass(frozen=True, kw_only=True)
class Duplicate:
    """Inputs of equal content, two or more."""

    paths: tuple[str, ...]
    domains: tuple[int, ...]
    """Of each path."""
    labels: tuple[int, ...]
    splits: tuple[str, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """In what they differ; `same domain and class` if in nothing."""
        differing = {"domains": self.domains, "classes": self.labels, "splits": self.splits}
        return tuple(kind for kind, values in differing.items() if len(set(values)) > 1) or ("same domain and class",)


class DuplicateFinder:
    """Collects the digests of inputs, DIGEST_BYTES each."""

    def __init__(self) -> None:
        self._digests = bytearray()
        self._places: list[tuple[str, int, int, str]] = []

    def add(self, items: Iterable[Item], digests: Iterable[bytes]) -> None:
        """More inputs, all of them stored."""
        for item, digest in zip(items, digests, strict=True):
            self._digests += digest
            self._places.append((item.path, item.domain, item.label, item.split))

    def find(self) -> list[Duplicate]:
        """All groups of equal content, in the order of their first members."""
        halves = np.frombuffer(self._digests, np.uint64).reshape(-1, DIGEST_BYTES // 8)
        if len(halves) < 2:
            return []
        order = np.lexsort(halves.T)  # stable: members of a group stay in order
        begins = np.flatnonzero((np.diff(halves[order], axis=0) != 0).any(1)) + 1
        groups = [group for group in np.split(order, begins) if len(group) > 1]
        return [self._group(group.tolist()) for group in sorted(groups, key=lambda group: int(group[0]))]

    def _group(self, members: Sequence[int]) -> Duplicate:
        paths, domains, labels, splits = zip(*(self._places[member] for member in members), strict=True)
        return Duplicate(paths=paths, domains=domains, labels=labels, splits=splits)
