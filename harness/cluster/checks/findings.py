"""What is wrong with a cluster: where, what, and the remedy, in one line each. Pure."""

import difflib
import re
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
    return Finding(where=f"{where}.{key}" if where else key, what="unknown key", remedy=one_of(key, valid))


def one_of(given: str, valid: Iterable[str], most: int = 60) -> str:
    """The remedy for a name that does not exist: the nearest, else those that do, where they are not too many."""
    names = sorted(valid)
    near = difflib.get_close_matches(given, names, n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"valid: {', '.join(names)}" if len(names) <= most else "look it up"


_OF_NODE_TYPE = re.compile(r"(available_node_types|spec(?:\.rayClusterSpec)?)\.(workerGroupSpecs\.\d+|[^.]+)(.*)")


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """One finding a cause: what is told twice once, and what is the same of several node types in one line.

    Types that take their settings from one place, by YAML's `&` and `<<`, have its mistakes in common.
    """
    names: dict[tuple[str, str, str, str], list[str]] = {}
    for finding in findings:
        found = _OF_NODE_TYPE.fullmatch(finding.where)
        before, name, rest = found.groups() if found else (finding.where, "", "")
        names.setdefault((before, rest, finding.what, finding.remedy), []).append(name)
    return [
        Finding(where=_joined(before, list(dict.fromkeys(of)), rest), what=what, remedy=remedy)
        for (before, rest, what, remedy), of in names.items()
    ]


def _joined(before: str, names: list[str], rest: str) -> str:
    """`available_node_types.{head,gpu_spot}.node_config`, as a shell writes several."""
    if names == [""]:
        return before
    return f"{before}.{names[0] if len(names) == 1 else '{' + ','.join(names) + '}'}{rest}"
