"""The rules that all imports keep, whatever they read from: every source passes through `CheckedSource`."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndcl.data.importing.labels import NO_LABEL
from ndcl.data.importing.names import clean_name, joined, lookalikes, readable
from ndcl.data.importing.source import Item, Source
from ndcl.errors import UserError
from ndcl.names import require_text

_MAX_NAMED = 5
"""Groups of similar names that a warning lists before the rest is only counted."""


class CheckedSource:
    """A source whose names are clean and distinct, and whose items have a label, a domain and finite numbers.

    Names that are one once cleaned are joined. An item that keeps a rule not has a fault.
    """

    def __init__(self, source: Source) -> None:
        """Raises UserError for doubled or empty names, and for a single class: there is nothing to tell apart."""
        self._source = source
        self.kind, self.shape, self.dtype = source.kind, source.shape, source.dtype
        self.classes, self._class_of = _cleaned("class", source.classes)
        self.domains, self._domain_of = _cleaned("domain", source.domains)
        self.remarks = (*source.remarks, *joined("domain", source.domains), *joined("class", source.classes))
        """What was made of the source that its owner may not expect."""
        self.missing: tuple[tuple[str, str], ...] = getattr(source, "missing", ())
        """(path, reason) of what a list names and is not there: known before anything is read."""
        if not self.classes or not self.domains:
            raise UserError(f"no item has a {'class' if self.domains else 'domain'}; each needs a class and a domain")
        if len(self.classes) < 2:
            raise UserError(f"all items are of one class, '{self.classes[0]}'; a classifier needs at least two")
        self.warnings = (*getattr(source, "warnings", ()), *_warnings(self.domains, self.classes))

    def __len__(self) -> int:
        return len(self._source)

    def items(self) -> Iterator[Item]:
        """All items in the source's order; one that breaks a rule has a fault."""
        for item in self._source.items():
            yield self._checked(item)

    def _checked(self, item: Item) -> Item:
        path = readable(item.path)
        if item.fault:
            return Item(b"", NO_LABEL, NO_LABEL, path, item.split, item.fault)
        label, domain = _of(self._class_of, item.label), _of(self._domain_of, item.domain)
        content, fault = item.content, ""
        if label == NO_LABEL:
            fault = "has no label (none, an empty one, or a number below 0)"
        elif domain == NO_LABEL:
            fault = "has no domain (none, an empty one, or a number below 0)"
        elif self.kind == "vectors":
            assert isinstance(content, np.ndarray)
            content, fault = self._vector(content)
        if fault:
            return Item(b"", NO_LABEL, NO_LABEL, path, item.split, fault)
        return replace(item, content=content, label=label, domain=domain, path=path)

    def _vector(self, values: NDArray[Any]) -> tuple[NDArray[Any], str]:
        """A vector as it is stored, and its fault."""
        if values.shape != self.shape:
            return values, f"has {values.size} features, the first row {self.shape[0] if self.shape else 0}"
        if not np.isfinite(values).all():
            return values, "has features that are no finite numbers"
        with np.errstate(over="ignore"):
            stored = values.astype(self.dtype)
        if not np.isfinite(stored).all():
            return values, f"has a feature of {np.abs(values).max():.3g}, beyond the range of {self.dtype}"
        return stored, ""


def checked(source: Source) -> CheckedSource:
    """`source` with its content checked; one that is checked already is returned as it is."""
    return source if isinstance(source, CheckedSource) else CheckedSource(source)


def warnings_of_cells(
    domains: Sequence[str], classes: Sequence[str], cells: Collection[tuple[int, int]]
) -> Iterator[str]:
    """Warnings of what only the items show; `cells` are the (domain, class) that have some."""
    for what, names, used in (("domain", domains, {d for d, _ in cells}), ("class", classes, {k for _, k in cells})):
        empty = [name for index, name in enumerate(names) if index not in used]
        if empty:
            more = f" and {len(empty) - _MAX_NAMED} more" if len(empty) > _MAX_NAMED else ""
            yield f"nothing is of {what} {', '.join(repr(name) for name in empty[:_MAX_NAMED])}{more}"
    if len(domains) > 1 and len(cells) == len({k for _, k in cells}):
        yield "no class is in two domains, so that none can be learnt for an unseen one; check which are the domains"


def _of(indices: Sequence[int], index: int) -> int:
    return indices[index] if 0 <= index < len(indices) else NO_LABEL


def _cleaned(what: str, names: Sequence[str]) -> tuple[tuple[str, ...], list[int]]:
    """The names as they are stored, and the place among them of each name that was given."""
    cleaned = [clean_name(name) for name in names]
    seen: set[str] = set()
    for index, name in enumerate(cleaned):
        if not name:
            raise UserError(f"{what} {index} has an empty name; give each {what} a name")
        require_text(name, what)
        if names[index] in seen:
            raise UserError(f"{what} '{name}' is named twice; give each {what} its own name")
        seen.add(names[index])
    distinct = tuple(dict.fromkeys(cleaned))
    return distinct, [distinct.index(name) for name in cleaned]


def _warnings(domains: Sequence[str], classes: Sequence[str]) -> Iterator[str]:
    if len(domains) == 1:
        yield (
            f"there is one domain, '{domains[0]}'; sweeps need at least two, since each in turn is the unseen target"
        )
    for what, names in (("domains", domains), ("classes", classes)):
        groups = lookalikes(names)
        if groups:
            listed = "; ".join(", ".join(f"'{name}'" for name in group) for group in groups[:_MAX_NAMED])
            more = f"; and {len(groups) - _MAX_NAMED} more" if len(groups) > _MAX_NAMED else ""
            yield (
                f"{what} differ in case, blanks, '_', '-' or Unicode form only: {listed}{more}; they are kept apart: "
                "if they are the same, give them one name and import again"
            )
