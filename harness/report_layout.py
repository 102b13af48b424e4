"""A comparison as rows of text, the same for every kind of output."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report_comparison import CONTRAST, Cell, Section, SettingTable

EMPTY = "-"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table."""

    metric: str
    """Only in the first row of a metric."""
    label: str
    cells: tuple[str, ...]
    best: tuple[bool, ...]
    """Which cells hold the highest value of their column and metric."""


def title(table: SettingTable) -> str:
    """What the table shows."""
    return f"{table.dataset}, {table.setting}: accuracy on the unseen domain in %"


def header(table: SettingTable) -> tuple[str, ...]:
    """Column names."""
    return ("metric", "algorithm", *table.targets, "mean")


def blocks(table: SettingTable) -> list[list[Row]]:
    """The rows of each metric, then those of the number of seeds."""
    return [*(_metric_rows(table, section) for section in table.sections), _seed_rows(table)]


def notes(table: SettingTable) -> list[str]:
    """What must be known to read the table rightly."""
    lines = ["± is the standard error over seeds; the highest value of a column is bold."]
    if set(CONTRAST) <= set(table.algorithms):
        first, second = CONTRAST
        lines.append(f"{first} - {second} is in percentage points; its error is that of the differences at equal seed.")
    if table.provisional:
        lines.append("* rests on one search trial, selected on source-domain validation; no final run has finished.")
    lines += [
        f"{section.metric}: the mean is over {', '.join(section.mean_over)} only, where every algorithm has a value."
        for section in table.sections
        if section.mean_over and len(section.mean_over) < len(table.targets)
    ]
    failed = [f"{number} of {algorithm} on {target}" for (algorithm, target), number in table.failed.items() if number]
    if failed:
        lines.append(f"Failed trials, which are not counted: {', '.join(failed)}.")
    return lines


def _metric_rows(table: SettingTable, section: Section) -> list[Row]:
    grid = [[*(section.cells.get((a, t)) for t in table.targets), section.means.get(a)] for a in table.algorithms]
    best = [_highest(column) for column in zip(*grid, strict=True)]
    rows = [
        Row(
            metric=section.metric if index == 0 else "",
            label=algorithm,
            cells=tuple(_percent(cell) for cell in cells),
            best=tuple(_is_best(cell, highest) for cell, highest in zip(cells, best, strict=True)),
        )
        for index, (algorithm, cells) in enumerate(zip(table.algorithms, grid, strict=True))
    ]
    if section.differences:
        cells = [section.differences.get(target) for target in (*table.targets, None)]
        rows.append(_plain_row(" - ".join(CONTRAST), [_points(cell) for cell in cells]))
    return rows


def _seed_rows(table: SettingTable) -> list[Row]:
    rows = []
    for index, algorithm in enumerate(table.algorithms):
        numbers = [table.num_seeds.get((algorithm, target), 0) for target in table.targets]
        low, high = min(numbers), max(numbers)
        cells = [*map(str, numbers), str(low) if low == high else f"{low} to {high}"]
        rows.append(_plain_row(algorithm, cells, metric="seeds" if index == 0 else ""))
    return rows


def _plain_row(label: str, cells: Sequence[str], metric: str = "") -> Row:
    return Row(metric=metric, label=label, cells=tuple(cells), best=(False,) * len(cells))


def _highest(column: Sequence[Cell | None]) -> str | None:
    """The highest value as it is printed, so that what looks equal is treated as equal; None without a contest."""
    present = [cell for cell in column if cell is not None]
    return _rounded(max(cell.mean for cell in present)) if len(present) > 1 else None


def _is_best(cell: Cell | None, highest: str | None) -> bool:
    return cell is not None and _rounded(cell.mean) == highest


def _percent(cell: Cell | None) -> str:
    return EMPTY if cell is None else f"{_rounded(cell.mean)}{_error(cell)}"


def _points(cell: Cell | None) -> str:
    return EMPTY if cell is None else f"{100 * cell.mean:+.1f}{_error(cell)}"


def _rounded(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def _error(cell: Cell) -> str:
    error = "" if cell.error is None else f" ±{_rounded(cell.error)}"
    return f"{error}*" if cell.provisional else error
