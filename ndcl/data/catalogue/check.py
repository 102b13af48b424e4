"""Compare an imported data set with its entry in the catalogue: what is missing or extra.

Legend: D domains, K classes of the entry.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ndcl.data.catalogue.entries import Entry, plain
from ndcl.data.store.store import Store

_ALSO_CALLED = {
    "caltech": "caltech101",
    "sun": "sun09",
    "pascalvoc": "voc2007",
    "pascal": "voc2007",
    "voc": "voc2007",
    "clip": "clipart",
    "info": "infograph",
    "quick": "quickdraw",
    "l100": "location100",
    "l38": "location38",
    "l43": "location43",
    "l46": "location46",
}
"""Domain names of other collections, to the catalogue's."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A number of images that is not as listed."""

    domain: str
    class_name: str
    expected: int
    found: int


@dataclass(frozen=True, kw_only=True)
class Check:
    """How a data set compares with an entry or one of its variants."""

    edition: str
    """The entry's name, or `name, variant (note)` of the nearest variant."""
    differences: tuple[Difference, ...]
    other_names: tuple[str, ...]
    """Domains and classes that are missing or not in the catalogue, in words."""
    order: str
    """Why class indices are not the published ones, or nothing."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing, extra, or in another order."""
        return not (self.differences or self.other_names or self.order)


def check(store: Store, entry: Entry) -> Check:
    """Compare with the entry and its variants; reports the one with the fewest differing images."""
    domain_of, missing_domains = _match(entry.domains, store.domains, "domain")
    class_of, missing_classes = _match(entry.classes, store.classes, "class")
    found = _in_order_of(entry, store, domain_of, class_of)
    editions = [(entry.name, _differences(entry, entry.counts, found))]
    for variant in entry.variants:
        title = f"{entry.name}, {variant.name} ({variant.note})"
        editions.append((title, _variant_differences(entry, variant.counts, variant.totals, found)))
    edition, differences = min(editions, key=lambda pair: sum(abs(d.found - d.expected) for d in pair[1]))
    shared = [name for name in store.classes if name in class_of]
    in_order = [class_of[name] for name in shared] == sorted(class_of[name] for name in shared)
    return Check(
        edition=edition,
        differences=tuple(differences),
        other_names=(*missing_domains, *missing_classes),
        order="" if in_order else "the classes stand in another order than the published one (that of their names)",
    )


def _match(listed: Sequence[str], own: Sequence[str], kind: str) -> tuple[dict[str, int], list[str]]:
    """Index in the catalogue of each own name that it has, and what does not match, in words."""
    known = {_plain(name): index for index, name in enumerate(listed)}
    matched = {name: known[_plain(name)] for name in own if _plain(name) in known}
    missing = [name for index, name in enumerate(listed) if index not in matched.values()]
    words = [f"{kind} '{name}' is missing" for name in missing]
    return matched, words + [f"{kind} '{name}' is not in the catalogue" for name in own if name not in matched]


def _plain(name: str) -> str:
    return _ALSO_CALLED.get(plain(name), plain(name))


def _in_order_of(entry: Entry, store: Store, domain_of: dict[str, int], class_of: dict[str, int]) -> NDArray[np.int64]:
    """The data set's counts [D, K]."""
    found = np.zeros_like(entry.counts)
    available = store.available()
    for row, domain in enumerate(store.domains):
        for column, name in enumerate(store.classes):
            if domain in domain_of and name in class_of:
                found[domain_of[domain], class_of[name]] += available[row, column]
    return found


def _differences(entry: Entry, expected: NDArray[np.int64], found: NDArray[np.int64]) -> list[Difference]:
    return [
        Difference(
            domain=entry.domains[d], class_name=entry.classes[k], expected=int(expected[d, k]), found=int(found[d, k])
        )
        for d, k in np.argwhere(expected != found)
    ]


def _variant_differences(
    entry: Entry, counts: NDArray[np.int64] | None, totals: NDArray[np.int64], found: NDArray[np.int64]
) -> list[Difference]:
    """By class if its counts are known, else by domain."""
    if counts is not None:
        return _differences(entry, counts, found)
    sums = found.sum(1)
    return [
        Difference(domain=domain, class_name="all classes", expected=int(total), found=int(number))
        for domain, total, number in zip(entry.domains, totals, sums, strict=True)
        if total != number
    ]
