"""Comparisons as grids of text, the same for every kind of output: this file has the accuracies."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report_budget import Budget, unequal
from harness.report_cells import Cell
from harness.report_tables import Section, SettingTable

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

    @property
    def num_labels(self) -> int:
        """Leading columns that hold names."""
        return len(self.blocks[0][0].labels)


def accuracy_grid(table: SettingTable) -> Grid:
    """All metrics of all algorithms on each target domain, the differences from the reference, and the seeds."""
    blocks = [*(_metric_rows(table, section) for section in table.sections), _seed_rows(table)]
    return Grid(
        title=f"{table.dataset}, {table.setting}: accuracy on the unseen domain in %",
        header=("metric", "algorithm", *table.targets, "mean"),
        blocks=tuple(map(tuple, blocks)),
        notes=(*_legend_notes(table), *warning_notes(table)),
    )


def warning_notes(table: SettingTable) -> list[str]:
    """What is not as it should be: previews, means over fewer domains, failures, unequal budgets, warm starts."""
    lines = []
    if table.provisional:
        lines.append("* rests on one search trial, the one that was selected; no final run has finished.")
    lines += [
        f"{section.metric}: the mean is over {', '.join(section.mean_over)} only, where every algorithm has a value."
        for section in table.sections
        if section.mean_over and len(section.mean_over) < len(table.targets)
    ]
    failed = [f"{number} of {algorithm} on {target}" for (algorithm, target), number in table.failed.items() if number]
    if failed:
        lines.append(f"Failed trials, which are not counted: {', '.join(failed)}.")
    return lines + _budget_notes(table) + _warm_start_notes(table)


def label_rows(metric: str, rows: Sequence[tuple[str, Sequence[str], Sequence[bool]]]) -> tuple[Row, ...]:
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


def _metric_rows(table: SettingTable, section: Section) -> tuple[Row, ...]:
    grid = [[*(section.cells.get((a, t)) for t in table.targets), section.means.get(a)] for a in table.algorithms]
    bold = zip(*map(highest, zip(*grid, strict=True)), strict=True)
    rows = [
        (name, [*map(percent, cells)], best) for name, cells, best in zip(table.algorithms, grid, bold, strict=True)
    ]
    for contrast in section.contrasts:
        cells = [*(contrast.by_target.get(target) for target in table.targets), contrast.mean]
        if contrast.by_target:
            rows.append((contrast.name, [*map(points, cells)], (False,) * len(cells)))
    return label_rows(section.metric, rows)


def _seed_rows(table: SettingTable) -> tuple[Row, ...]:
    rows = []
    for algorithm in table.algorithms:
        numbers = [len(table.budgets.get((algorithm, target), Budget()).seeds) for target in table.targets]
        low, high = min(numbers), max(numbers)
        cells = [*map(str, numbers), str(low) if low == high else f"{low} to {high}"]
        rows.append((algorithm, cells, (False,) * len(cells)))
    return label_rows("seeds", rows)


def _legend_notes(table: SettingTable) -> list[str]:
    lines = ["± is the standard error over seeds; the highest value of a column is bold."]
    if any(section.contrasts for section in table.sections):
        lines.append("Differences are in percentage points; their error is that of the differences at equal seed.")
    return lines


def _warm_start_notes(table: SettingTable) -> list[str]:
    if not table.warm_started:
        return []
    studies = ", ".join(f"{algorithm} on {target}" for algorithm, target in table.warm_started)
    return [f"WARM START: the search began with values selected with images of the target domain: {studies}."]


def _budget_notes(table: SettingTable) -> list[str]:
    """Where the algorithms did not have the same number of trials, steps and seeds, what each of them had."""
    return [
        f"UNEQUAL BUDGET on {', '.join(targets)}: "
        + "; ".join(f"{algorithm} {budget}" for algorithm, budget in budgets.items())
        + "."
        for targets, budgets in unequal(table.budgets, table.algorithms, table.targets).items()
    ]
