"""Data sets for people: tables of counts, what an import has found, and bars of progress."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.terminal.numbers import size
from harness.terminal.table import Table

if TYPE_CHECKING:
    from ndcl.data import Store
    from ndcl.data.catalogue.check import Check
    from ndcl.data.importing import Imported
    from ndcl.data.importing.duplicates import Duplicate

MAX_LISTED = 20
"""Images, groups or differences that are printed before the rest is only counted."""
MAX_COLUMNS = 12
"""Classes up to which a table of counts has a column for each; with more it has a row for each."""


def counts_table(domains: Sequence[str], classes: Sequence[str], counts: NDArray[np.int64], title: str = "") -> Table:
    """Images of each domain and class, `counts` [D, K], with sums."""
    table = Table(title=title)
    wide = len(classes) <= MAX_COLUMNS
    rows, columns, cells = (domains, classes, counts) if wide else (classes, domains, counts.T)
    table.add_column("domain" if wide else "class", "name")
    for name in (*columns, "all"):
        table.add_column(name)
    for position, (name, line) in enumerate(zip(rows, cells.tolist(), strict=True), 1):
        table.add_row(name, *map(_number, line), _number(sum(line)), ends_section=position == len(rows))
    table.add_row("all", *map(_number, cells.sum(0).tolist()), _number(int(cells.sum())))
    return table


def store_lines(store: "Store") -> list[str]:
    """What is known of a stored data set, but its counts."""
    notes = store.notes
    lines = [
        f"{form_of(store)}, {size(folder_bytes(store.folder))} in {store.folder}",
        f"digest: {store.digest}",
    ]
    if notes.get("source"):
        lines.append(f"imported from: {notes['source']}")
    lines += [*notes.get("remarks", ()), *(f"warning: {warning}" for warning in notes.get("warnings", ()))]
    if notes.get("skipped"):
        lines.append(f"left out when imported: {len(notes['skipped'])}")
        lines += [f"  {entry['path']} {entry['reason']}" for entry in notes["skipped"][:MAX_LISTED]]
        lines += _and_more(len(notes["skipped"]))
    found = notes.get("duplicates", {})
    if found.get("groups"):
        kinds = ", ".join(f"{number} {_differing(kind)}" for kind, number in found["by_kind"].items())
        lines.append(f"groups of equal images: {found['groups']} ({kinds})")
        lines += [f"  {' = '.join(group['paths'])}" for group in found["listed"][:MAX_LISTED]]
        lines += _and_more(found["groups"])
    return lines


def form_of(store: "Store") -> str:
    """`raw 256 x 256`."""
    if store.kind == "vectors":
        return f"{store.input_shape[0]} features of {store.dtype}"
    return f"{'raw' if store.kind == 'raw' else 'JPEG'} {store.input_shape[0]} x {store.input_shape[1]}"


def imported_lines(result: "Imported", store: "Store") -> list[str]:
    """What an import has made, left out and found."""
    what = "vectors" if store.kind == "vectors" else "images"
    lines = [
        f"{result.num_inputs:,} {what} of {len(store.domains)} domains and {len(store.classes)} classes: "
        f"{form_of(store)}, {size(folder_bytes(store.folder))} in {store.folder}"
    ]
    if result.replaced is not None:
        lines.append(_replaced_line(result.replaced, store))
    if result.skipped:
        lines.append(f"left out {len(result.skipped)} (the list is kept with the data set):")
        lines += bad_lines(result.skipped)
    return lines + duplicate_lines(result.duplicates)


def _replaced_line(earlier: str, store: "Store") -> str:
    if earlier == store.digest:
        return f"replaced: the earlier data set {store.name} had the same content"
    return (
        f"replaced: the earlier data set {store.name}; sweeps that were started on it do not continue on this: each "
        "says by which command it starts anew"
    )


def bad_lines(bad: Sequence[tuple[str, str]]) -> list[str]:
    """One line an image that can't be imported, as far as MAX_LISTED."""
    return [f"  {path} {reason}" for path, reason in bad[:MAX_LISTED]] + _and_more(len(bad))


def duplicate_lines(duplicates: "Sequence[Duplicate]") -> list[str]:
    """A warning by kind, and the groups themselves, those across domains, classes and splits first."""
    if not duplicates:
        return []
    counts = Counter(kind for group in duplicates for kind in group.kinds)
    kinds = ", ".join(f"{number} {_differing(kind)}" for kind, number in counts.items())
    first = sorted(duplicates, key=lambda group: group.kinds == ("same domain and class",))
    lines = [f"warning: {len(duplicates)} groups of equal images ({kinds}); they are kept:"]
    return lines + [f"  {' = '.join(group.paths)}" for group in first[:MAX_LISTED]] + _and_more(len(duplicates))


def check_lines(check: "Check") -> list[str]:
    """What is missing or extra against the catalogue."""
    if check.is_whole:
        return [f"as the catalogue lists it: {check.edition}"]
    lines = [f"not as the catalogue lists it; nearest: {check.edition}"]
    problems = [*check.other_names, *([check.order] if check.order else [])]
    for difference in check.differences:
        change = difference.found - difference.expected
        word = f"{change} too many" if change > 0 else f"{-change} missing"
        problems.append(
            f"{difference.domain}, {difference.class_name}: {word} ({difference.found} of {difference.expected})"
        )
    return lines + [f"  {problem}" for problem in problems[:MAX_LISTED]] + _and_more(len(problems))


def folder_bytes(folder: Path) -> int:
    """Bytes of the files in a data set's folder."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _differing(kind: str) -> str:
    return f"in different {kind}" if kind in ("domains", "classes", "splits") else f"of the {kind}"


def _and_more(number: int) -> list[str]:
    return [f"  and {number - MAX_LISTED} more"] if number > MAX_LISTED else []


def _number(value: int) -> str:
    return f"{value:,}"
