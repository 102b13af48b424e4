"""Comparisons as grids of text, the same for every kind of output: this file has the accuracies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from harness.report.analysis.cells import Cell
from harness.report.analysis.comparison import ORACLE_WARNING, Comparison
from ndcl.criteria import DEFAULT_OBJECTIVE

NOTHING = "No trial has finished yet."
EMPTY = "-"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a grid."""

    labels: tuple[str, ...]
    """Of the leading columns; the first is given only where it changes."""
    cells: tuple[str, ...]
    bold: tuple[bool, ...]
    """Which cells stand out."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """One table as it is printed."""

    title: str
    header: tuple[str, ...]
    blocks: tuple[tuple[Row, ...], ...]
    """Rows that belong together."""
    notes: tuple[str, ...]
    """What must be known to read it rightly."""
    headings: tuple[str, ...] = ()
    """What the blocks' rows have in common, one of each, empty where nothing is said; none: of no block."""

    @property
    def headed_blocks(self) -> list[tuple[str, tuple[Row, ...]]]:
        """The blocks, each with its heading."""
        return list(zip(self.headings or ("",) * len(self.blocks), self.blocks, strict=True))

    @property
    def num_labels(self) -> int:
        """Leading columns that hold names."""
        return len(self.blocks[0][0].labels)


NamedRow = tuple[str, Sequence[str], Sequence[bool]]
"""A name, its cells, and which of these are bold."""
Block = tuple[str, tuple[Row, ...]]
"""A heading, and rows."""


def family_blocks(metric: str, rows: Sequence[tuple[str, NamedRow]], families: Mapping[str, str]) -> list[Block]:
    """A block for each family, of rows that are given with the algorithm that each is of."""
    groups = groupby(rows, key=lambda row: families.get(row[0], ""))
    return [(family, label_rows(metric, [row for _, row in group])) for family, group in groups]


def label_rows(metric: str, rows: Sequence[NamedRow]) -> tuple[Row, ...]:
    """Rows of one metric, which is named in the first, each of a name, its cells and which of these are bold."""
    return tuple(
        Row(labels=(metric if index == 0 else "", name), cells=tuple(cells), bold=tuple(bold))
        for index, (name, cells, bold) in enumerate(rows)
    )


def highest(column: Sequence[Cell | None]) -> list[bool]:
    """Which cells hold the highest value as it is printed, so that what looks equal is treated as equal."""
    means = [None if cell is None else rounded(cell.mean) for cell in column]
    present = [cell for cell in column if cell is not None]
    best = rounded(max(cell.mean for cell in present)) if len(present) > 1 else None  # none without a contest
    return [mean is not None and mean == best for mean in means]


def second_highest(column: Sequence[Cell | None]) -> list[bool]:
    """Which cells hold the highest value as it is printed but for the highest; of fewer than three, none."""
    means = [None if cell is None else rounded(cell.mean) for cell in column]
    below = [cell for cell, best in zip(column, highest(column), strict=True) if cell is not None and not best]
    second = rounded(max(cell.mean for cell in below)) if len(below) > 1 else None
    return [mean is not None and mean == second for mean in means]


def percent(cell: Cell | None) -> str:
    """`54.0 ±2.7`, with a star if it is provisional."""
    return EMPTY if cell is None else f"{rounded(cell.mean)}{_error(cell)}"


def points(cell: Cell | None) -> str:
    """`+3.1 ±2.7`: a difference in percentage points."""
    return EMPTY if cell is None else f"{signed(cell.mean)}{_error(cell)}"


def rounded(fraction: float) -> str:
    """In percent, to one decimal."""
    return f"{100 * fraction:.1f}"


def signed(fraction: float) -> str:
    """In percentage points, to one decimal, with its sign."""
    return f"{100 * fraction:+.1f}"


def _error(cell: Cell) -> str:
    error = "" if cell.error is None else f" ±{rounded(cell.error)}"
    return f"{error}*" if cell.provisional else error


def selection_lines(comparison: Comparison) -> list[str]:
    """How checkpoints and trials were selected, unless it is the usual way."""
    if comparison.criteria == (DEFAULT_OBJECTIVE,):
        return []
    several = "the mean of " if len(comparison.criteria) > 1 else ""
    return [f"Checkpoints and trials are selected by {several}{' and '.join(comparison.criteria)}."]


def without_target_lines(comparison: Comparison) -> list[str]:
    """Which studies are in no table, since they left no domain out."""
    if not comparison.without_target:
        return []
    names = ", ".join(key.title for key in comparison.without_target)
    return [f"Trained on all domains, with none unseen to be measured on: {names}."]


def nothing(comparison: Comparison) -> str:
    """What stands in place of tables where there is none."""
    return " ".join(without_target_lines(comparison)) or NOTHING


def marked(grids: Sequence[Grid | None], comparison: Comparison) -> list[Grid]:
    """Those that exist, each marked in its title and its notes if the oracle was used."""
    found = [grid for grid in grids if grid is not None]
    if not comparison.oracle:
        return found
    return [
        replace(grid, title=f"{comparison.mark}{grid.title}", notes=(ORACLE_WARNING, *grid.notes)) for grid in found
    ]
