"""The comparison in the HTML report: a setting's accuracies by metric, and under them the paired differences."""

from harness.report.analysis.cells import HEADLINE_METRIC
from harness.report.analysis.comparison import Comparison
from harness.report.analysis.setting_table import Section, SettingTable
from harness.report.html.accuracy_rows import accuracy_cells, difference_rows, ensemble_row, source_rows
from harness.report.html.family_tables import family_table
from harness.report.html.forest import forest
from harness.report.html.parts import Names, folded, grid_table, head, notes, paragraph, row_head, table, tabs
from harness.report.text.accuracy_grids import accuracy_grid, warning_notes
from harness.report.text.calibration_grid import calibration_grid
from harness.report.text.contrast_grids import contrast_grid, ensemble_grid, matrix_grid
from harness.report.text.grid import marked
from harness.report.text.rank_grid import rank_grid


def setting_tables(names: Names, shown: SettingTable, comparison: Comparison) -> str:
    """All metrics of one setting of the comparison as tabs, then what must be known to read them."""
    panels = {part.metric: _metric(shown, part, comparison.mark) for part in shown.sections if part.cells}
    warnings = warning_notes(shown)
    grids = (accuracy_grid(shown), contrast_grid(shown))
    reading = [note for grid in grids if grid is not None for note in grid.notes if note not in warnings]
    ranks = "".join(map(grid_table, marked([rank_grid(shown)], comparison)))
    return "".join((
        tabs(names, "metric", panels) if panels else paragraph("No value yet."),
        notes(warnings),
        folded("Mean ranks", ranks) if shown.families else ranks,
        folded("How to read this", notes([_UNDERLINED, *reading])),
        "".join(map(grid_table, marked([ensemble_grid(shown)], comparison))),
        folded("Calibration", "".join(map(grid_table, marked([calibration_grid(shown)], comparison)))),
        folded("Budgets", notes(_budgets(shown))),
        folded("Every two algorithms", "".join(map(grid_table, marked([matrix_grid(shown)], comparison)))),
    ))  # fmt: skip


_UNDERLINED = "Of three algorithms and more the second best of a column is underlined; rings are single target domains."


def _budgets(shown: SettingTable) -> list[str]:
    return [f"{algorithm} on {target}: {budget}." for (algorithm, target), budget in shown.budgets.items()]


def _metric(shown: SettingTable, part: Section, mark: str) -> str:
    place = f"{shown.dataset}, {shown.setting}"
    caption = f"{mark}{place}: {part.metric} accuracy on the unseen domain in %, ± standard error over seeds"
    drawn = forest(shown, part, mark) if any(contrast.result for contrast in part.contrasts) else ""
    if shown.families:
        return family_table(shown, part, caption, drawn)
    header = [head("algorithm"), *map(head, shown.targets), head("mean", "mean")]
    sources = source_rows(shown) if part.metric == HEADLINE_METRIC else []
    rows = [
        row
        for name, cells in accuracy_cells(shown, part).items()
        for row in (row_head(name) + "".join(cells), *ensemble_row(shown, part, name))
    ]
    blocks = [rows, *([sources] if sources else []), difference_rows(shown, part)]
    return table(caption, header, blocks) + drawn
