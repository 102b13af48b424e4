"""Groups of algorithms that work alike, in tables of so many that a list would not be read."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from ndcl.algorithm_configs.families import family_of

MOST_UNGROUPED = 12
"""Algorithms up to which a table is one list."""


def families(names: Sequence[str], methods: Mapping[str, str], reference: str | None) -> dict[str, str]:
    """By name the family of the algorithm that it trains; the reference, which stands above all, has an empty one.

    Nothing where there are few algorithms, or all others are of one family.
    """
    found = {name: family_of(methods[name]) for name in names if name != reference}
    if len(names) <= MOST_UNGROUPED or len(set(found.values())) < 2:
        return {}
    return found if reference is None else {reference: "", **found}


def in_families(names: Iterable[str], own: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """Names that follow each other and are of one family, with its name; all of them together where there are none."""
    return [(family, list(group)) for family, group in groupby(names, key=lambda name: own.get(name, ""))]
