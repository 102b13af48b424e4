"""The result of a sweep for people: the comparison of algorithms in a terminal and as Markdown."""

from collections.abc import Sequence
from dataclasses import replace

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.report_comparison import ORACLE_WARNING, Comparison, compare
from harness.report_contrast_grids import contrast_grid, matrix_grid
from harness.report_details import NO_DETAILS, Details
from harness.report_grids import curve_grid, diagnosis_grid, front_grid
from harness.report_layout import Grid, Row, accuracy_grid
from harness.selection import DEFAULT_OBJECTIVE

__all__ = ["Comparison", "compare", "to_console", "to_markdown"]

NOTHING = "No trial has finished yet."
FRONTS = "Pareto fronts of the searches: in report.md, one for each study."
FIGURE = "accuracy_over_ratio"
"""Name of the picture of the curves, without its suffix."""


def to_console(comparison: Comparison) -> RenderableType:
    """The main tables for a rich console; four target domains fit into 100 columns, with more the errors wrap."""
    grids = [grid for table in comparison.tables for grid in (accuracy_grid(table), contrast_grid(table))]
    if not grids:
        return Text(NOTHING)
    parts: list[RenderableType] = [Text(f"{line}\n") for line in selection_lines(comparison)]
    for grid in marked([*grids, *map(curve_grid, comparison.curves)], comparison):
        parts += [_console_table(grid), *(Text(note, style="dim") for note in grid.notes), Text()]
    return Group(*parts, Text(FRONTS)) if comparison.fronts else Group(*parts[:-1])


def to_markdown(comparison: Comparison, details: Details = NO_DETAILS) -> str:
    """The same tables as Markdown, with every two algorithms, the curves' picture, the searches' Pareto fronts, the
    diagnostics of the theory, and what failed.
    """
    tables, curves = comparison.tables, comparison.curves
    grids = [grid for table in tables for grid in (accuracy_grid(table), contrast_grid(table), matrix_grid(table))]
    if not grids:
        return "\n".join([f"{NOTHING}\n", *_failures(details)])
    parts = [f"{line}\n" for line in selection_lines(comparison)]
    parts += [_markdown_table(grid) for grid in marked([*grids, *map(curve_grid, curves)], comparison)]
    if curves:
        parts.append(f"![accuracy over the imbalance ratio]({FIGURE}.png)\n")
    more = [*map(front_grid, comparison.fronts), *_diagnoses(comparison, details)]
    parts += [_markdown_table(grid) for grid in marked(more, comparison)]
    return "\n".join([*parts, *_failures(details)])


def _diagnoses(comparison: Comparison, details: Details) -> list[Grid]:
    return [diagnosis_grid(diagnosis, comparison.algorithms) for diagnosis in details.diagnoses]


def _failures(details: Details) -> list[str]:
    """Each failed trial with its reason and the end of its log."""
    parts = []
    for failure in details.failures:
        log = f"\n```\n{failure.log}\n```\n" if failure.log else ""
        parts.append(f"- {_emphasised(failure.name, False)}: {_emphasised(failure.reason, False)}\n{log}")
    return ["### Failed trials\n", *parts] if parts else []


def selection_lines(comparison: Comparison) -> list[str]:
    """How checkpoints and trials were selected, unless it is the usual way."""
    if comparison.criteria == (DEFAULT_OBJECTIVE,):
        return []
    several = "the mean of " if len(comparison.criteria) > 1 else ""
    return [f"Checkpoints and trials are selected by {several}{' and '.join(comparison.criteria)}."]


def marked(grids: Sequence[Grid | None], comparison: Comparison) -> list[Grid]:
    """Those that exist, each marked in its title and its notes if the oracle was used."""
    found = [grid for grid in grids if grid is not None]
    if not comparison.oracle:
        return found
    return [
        replace(grid, title=f"{comparison.mark}{grid.title}", notes=(ORACLE_WARNING, *grid.notes)) for grid in found
    ]


def _console_table(grid: Grid) -> Table:
    shown = Table(title=grid.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for position, name in enumerate(grid.header):
        is_label = position < grid.num_labels
        shown.add_column(name, justify="left" if is_label else "right", no_wrap=is_label, overflow="fold")
    for block in grid.blocks:
        for row in block:
            shown.add_row(*row.labels, *map(_styled, row.cells, row.bold), end_section=row is block[-1])
    return shown


def _styled(cell: str, bold: bool) -> Text:
    return Text(cell, style="bold" if bold else "")


def _markdown_table(grid: Grid) -> str:
    num_values = len(grid.header) - grid.num_labels
    lines = [f"### {grid.title}", "", _markdown_row(grid.header)]
    lines.append(_markdown_row(["---"] * grid.num_labels + ["---:"] * num_values))
    lines += [_markdown_cells(row) for block in grid.blocks for row in block]
    remarks = [f"- {_emphasised(note, False)}" for note in grid.notes]
    return "\n".join([*lines, "", *remarks, ""])


def _markdown_cells(row: Row) -> str:
    return _markdown_row([*row.labels, *map(_emphasised, row.cells, row.bold)])


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _emphasised(text: str, bold: bool) -> str:
    text = text.replace("*", r"\*")  # a literal star, not formatting
    return f"**{text}**" if bold else text
