"""A comparison as text for the terminal."""

from harness.report.analysis.comparison import Comparison
from harness.report.text.accuracy_grids import accuracy_grid, curve_grid
from harness.report.text.contrast_grids import contrast_grid, ensemble_grid
from harness.report.text.findings import recommendation
from harness.report.text.grid import Grid, marked, nothing
from harness.report.text.headline_grid import REST, headline_grids
from harness.report.text.markdown import head_lines
from harness.report.text.rank_grid import rank_grid
from harness.terminal.table import Table
from harness.terminal.terminal import RenderableType, stacked, words

MOST_LINES = 200
"""Where all tables would be longer, which is some screens, a terminal shows the headline alone."""
FRONTS = "Pareto fronts of the searches: in report.md, one for each study."


def to_console(comparison: Comparison) -> RenderableType:
    """The main tables for a console of any width; where these are long, overall accuracy, and where the rest is."""
    grids = [
        grid
        for table in comparison.tables
        for grid in (accuracy_grid(table), rank_grid(table), contrast_grid(table), ensemble_grid(table))
    ]
    if not grids:
        return words(nothing(comparison))
    found = {f"{t.dataset}, {t.setting}": recommendation(t, oracle=comparison.oracle) for t in comparison.tables}
    recommended = [f"{f'{place}: ' if len(found) > 1 else ''}{line}" for place, line in found.items() if line]
    parts: list[RenderableType] = [words(f"{line}\n") for line in head_lines(comparison)]
    shown = marked([*grids, *map(curve_grid, comparison.curves)], comparison)
    is_long = sum(map(_num_lines, shown)) > MOST_LINES
    for grid in marked([*headline_grids(comparison)], comparison) if is_long else shown:
        parts += [_console_table(grid), *(words(note, style="dim") for note in grid.notes), words("")]
    rest = [*([REST] if is_long else []), *([FRONTS] if comparison.fronts else [])]
    parts += map(words, [*recommended, *rest])
    return stacked(*parts)


def _num_lines(grid: Grid) -> int:
    """About as many as it takes: title, head, rows with a line below each block, notes, and one free."""
    return 4 + sum(len(block) + 1 for block in grid.blocks) + len(grid.notes)


def _console_table(grid: Grid) -> Table:
    shown = Table(title=grid.title, title_style="bold")
    for position, name in enumerate(grid.header):
        shown.add_column(name, "name" if position < grid.num_labels else "number")
    for heading, block in grid.headed_blocks:
        if heading:
            shown.add_row(*[""] * (grid.num_labels - 1), (heading, "italic"))
        for row in block:
            cells = [(cell, "bold" if bold else "") for cell, bold in zip(row.cells, row.bold, strict=True)]
            shown.add_row(*row.labels, *cells, ends_section=row is block[-1])
    return shown
