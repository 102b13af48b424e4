"""A comparison as Markdown."""

from collections.abc import Sequence

from harness.report.analysis.comparison import Comparison
from harness.report.analysis.data_versions import data_lines
from harness.report.analysis.details import NO_DETAILS, Details
from harness.report.analysis.setting_table import SettingTable
from harness.report.text.accuracy_grids import accuracy_grid, curve_grid, front_grid
from harness.report.text.calibration_grid import calibration_grid
from harness.report.text.confusion_grid import confusion_grids
from harness.report.text.contrast_grids import contrast_grid, ensemble_grid, matrix_grid
from harness.report.text.diagnosis_grid import diagnosis_grid
from harness.report.text.findings import edge_lines, recommendation
from harness.report.text.grid import Grid, Row, marked, nothing, selection_lines, without_target_lines
from harness.report.text.rank_grid import rank_grid
from harness.report.text.second_look_grid import second_look_grids
from harness.report.text.source_criteria_grid import source_criteria_grid
from harness.terminal.markdown import code_block, literal

FIGURE = "accuracy_over_ratio"
"""Name of the picture of the curves, without its suffix."""


def to_markdown(comparison: Comparison, details: Details = NO_DETAILS) -> str:
    """The same tables as Markdown, with every two algorithms, the curves' picture, the searches' Pareto fronts, their
    second looks, the criteria on source domains, the diagnostics of the theory, and what failed.
    """
    tables, curves = comparison.tables, comparison.curves
    grids = [grid for table in tables for grid in _setting_grids(table)]
    if not grids:
        return "\n".join([f"{nothing(comparison)}\n", *_failures(details)])
    parts = [f"{line}\n" for line in head_lines(comparison)]
    parts += [_markdown_table(grid) for grid in marked([*grids, *map(curve_grid, curves)], comparison)]
    if curves:
        parts.append(f"![accuracy over the imbalance ratio]({FIGURE}.png)\n")
    more = [*map(front_grid, comparison.fronts), *_trials(comparison, details)]
    parts += [_markdown_table(grid) for grid in marked(more, comparison)]
    return "\n".join([*parts, *_findings(comparison, details), *_failures(details)])


def _findings(comparison: Comparison, details: Details) -> list[str]:
    """Ranges that were too narrow, and what to deploy."""
    lines = []
    for table in comparison.tables:
        recommended = recommendation(table, oracle=comparison.oracle)
        found = [*edge_lines(details, table.dataset, table.setting), *([recommended] if recommended else [])]
        lines += [f"- {_emphasised(f'{table.dataset}, {table.setting}: {line}', False)}" for line in found]
    return [f"### {comparison.mark}Recommended\n", *lines, ""] if lines else []


def _setting_grids(table: SettingTable) -> list[Grid | None]:
    """Of one setting: accuracies and their calibration, then the differences."""
    makers = (accuracy_grid, rank_grid, contrast_grid, ensemble_grid, calibration_grid, matrix_grid)
    return [make(table) for make in makers]


def _trials(comparison: Comparison, details: Details) -> list[Grid]:
    """What all trials together tell: confusions, second looks, criteria on source domains, and the theory."""
    criteria = [source_criteria_grid(found, comparison.algorithms) for found in details.source_criteria]
    confusions = [grid for table in comparison.tables for grid in confusion_grids(table, details)]
    return [*confusions, *second_look_grids(details), *criteria] + [
        diagnosis_grid(diagnosis, comparison.algorithms) for diagnosis in details.diagnoses
    ]


def _failures(details: Details) -> list[str]:
    """Each failed trial with its reason and the end of its log."""
    parts = []
    for failure in details.failures:
        log = f"\n{code_block(failure.log)}\n" if failure.log else ""
        parts.append(f"- {_emphasised(failure.name, False)}: {_emphasised(failure.reason, False)}\n{log}")
    return ["### Failed trials\n", *parts] if parts else []


def head_lines(comparison: Comparison) -> list[str]:
    """What stands above all numbers: that they are of different data, and how was selected; nothing as a rule."""
    return [*data_lines(comparison.data), *selection_lines(comparison), *without_target_lines(comparison)]


def _markdown_table(grid: Grid) -> str:
    num_values = len(grid.header) - grid.num_labels
    lines = [f"### {literal(grid.title)}", "", _markdown_row([*map(literal, grid.header)])]
    lines.append(_markdown_row(["---"] * grid.num_labels + ["---:"] * num_values))
    for heading, block in grid.headed_blocks:
        if heading:
            lines.append(_markdown_row([*[""] * (grid.num_labels - 1), f"*{literal(heading)}*", *[""] * num_values]))
        lines += map(_markdown_cells, block)
    remarks = [f"- {_emphasised(note, False)}" for note in grid.notes]
    return "\n".join([*lines, "", *remarks, ""])


def _markdown_cells(row: Row) -> str:
    return _markdown_row([*map(literal, row.labels), *map(_emphasised, row.cells, row.bold)])


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _emphasised(text: str, bold: bool) -> str:
    return f"**{literal(text)}**" if bold else literal(text)
