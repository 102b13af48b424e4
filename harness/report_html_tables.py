"""The comparison in the HTML report: a setting's accuracies by metric, and under them the paired differences."""

from collections.abc import Sequence
from html import escape

from harness.paired_statistics import PairedResult
from harness.report import marked
from harness.report_comparison import Comparison
from harness.report_contrast_grids import contrast_grid, matrix_grid, probability
from harness.report_contrasts import Contrast
from harness.report_html_parts import (
    Names,
    accuracy,
    colour,
    difference,
    folded,
    grid_table,
    head,
    minus,
    notes,
    paragraph,
    row_head,
    table,
    tabs,
)
from harness.report_layout import accuracy_grid, highest, second_highest, signed, warning_notes
from harness.report_tables import Section, SettingTable


def setting_tables(names: Names, shown: SettingTable, comparison: Comparison) -> str:
    """All metrics of one setting of the comparison as tabs, then what must be known to read them."""
    panels = {part.metric: _metric(shown, part, comparison.mark) for part in shown.sections if part.cells}
    warnings = warning_notes(shown)
    grids = (accuracy_grid(shown), contrast_grid(shown))
    reading = [note for grid in grids if grid is not None for note in grid.notes if note not in warnings]
    return "".join((
        tabs(names, "metric", panels) if panels else paragraph("No value yet."),
        notes(warnings),
        folded("How to read this", notes([_UNDERLINED, *reading])),
        folded("Budgets", notes(_budgets(shown))),
        folded("Every two algorithms", "".join(map(grid_table, marked([matrix_grid(shown)], comparison)))),
    ))  # fmt: skip


_UNDERLINED = "Of three algorithms and more the second best of a column is underlined; rings are single target domains."


def _budgets(shown: SettingTable) -> list[str]:
    return [f"{algorithm} on {target}: {budget}." for (algorithm, target), budget in shown.budgets.items()]


def _metric(shown: SettingTable, part: Section, mark: str) -> str:
    place = f"{shown.dataset}, {shown.setting}"
    header = [head("algorithm"), *map(head, shown.targets), head("mean", "mean")]
    caption = f"{mark}{place}: {part.metric} accuracy on the unseen domain in %, ± standard error over seeds"
    accuracies = table(caption, header, [_accuracy_rows(shown, part), _difference_rows(shown, part)])
    return accuracies + (forest(shown, part, mark) if any(contrast.result for contrast in part.contrasts) else "")


def _accuracy_rows(shown: SettingTable, part: Section) -> list[str]:
    columns = [[part.cells.get((name, target)) for name in shown.algorithms] for target in shown.targets]
    columns.append([part.means.get(name) for name in shown.algorithms])
    best, second = ([list(judge(column)) for column in columns] for judge in (highest, second_highest))
    rows = []
    for position, name in enumerate(shown.algorithms):
        cells = [
            accuracy(column[position], _kind(best[c][position], second[c][position], c == len(shown.targets)))
            for c, column in enumerate(columns)
        ]
        rows.append(row_head(name) + "".join(cells))
    return rows


def _kind(best: bool, second: bool, is_mean: bool) -> str:
    return " ".join(name for name, holds in (("best", best), ("second", second), ("mean", is_mean)) if holds)


def _difference_rows(shown: SettingTable, part: Section) -> list[str]:
    return [
        row_head(contrast.name)
        + "".join(difference(contrast.by_target.get(target)) for target in shown.targets)
        + difference(contrast.mean, "mean")
        for contrast in part.contrasts
        if contrast.by_target
    ]


def forest(shown: SettingTable, part: Section, mark: str) -> str:
    """Mean differences from the reference with their intervals, drawn on one scale and told in numbers."""
    scale = _scale(part.contrasts)
    reference = shown.algorithms[0]
    caption = (
        f"{mark}{part.metric}: mean difference from {reference} in percentage points over {', '.join(part.mean_over)}; "
        f"drawn from {signed(-scale)} to {signed(scale)}, the bar is the 95 % interval"
    )
    header = [head("algorithm"), head(f"lower | higher than {reference}", "plot")]
    header += [head("mean, interval", "numbers"), head("verdict", "verdict left")]
    rows = [
        _forest_row(contrast, contrast.result, contrast.mean.mean, scale, shown.algorithms.index(contrast.algorithm))
        for contrast in part.contrasts
        if contrast.result and contrast.mean
    ]
    return table(caption, header, [rows], "forest")


def _scale(contrasts: Sequence[Contrast]) -> float:
    """The largest difference or interval's end, at least a point, as a fraction."""
    ends = [abs(end) for c in contrasts if c.result for end in c.result.interval or ()]
    points = [abs(value.mean) for c in contrasts for value in c.by_target.values()]
    return max(0.01, *ends, *points) if ends or points else 0.01


def _forest_row(contrast: Contrast, result: PairedResult, mean: float, scale: float, position: int) -> str:
    interval = "no interval" if result.interval is None else " to ".join(minus(signed(end)) for end in result.interval)
    about = f"p {probability(result.p_corrected)}, {result.num_pairs} pairs"
    return (
        row_head(contrast.algorithm)
        + f'<td class="plot {colour(position)}">{_forest_line(contrast, result, mean, scale)}</td>'
        + f'<td>{minus(signed(mean))}<span class="small">{interval}</span></td>'
        + f'<td class="left"><span class="{result.verdict.split()[0]}">{result.verdict}</span>'
        + f'<span class="small">{escape(about)}</span></td>'
    )


def _forest_line(contrast: Contrast, result: PairedResult, mean: float, scale: float) -> str:
    """Places are in percent of the cell's width, whatever it is."""
    low, high = (_place(end, scale) for end in result.interval or (mean, mean))
    rings = "".join(
        f'<circle cx="{_place(value.mean, scale)}" cy="50%" r="3.4" class="ring">'
        f"<title>{escape(target)} {minus(signed(value.mean))}</title></circle>"
        for target, value in contrast.by_target.items()
    )
    return (
        f'<svg role="img" aria-label="{escape(_spoken(contrast, mean))}">'
        f'<line class="axis" x1="50%" x2="50%" y1="0" y2="100%"/>'
        f'<line class="interval" x1="{low}" x2="{high}" y1="50%" y2="50%"/>{rings}'
        f'<circle class="mark" cx="{_place(mean, scale)}" cy="50%" r="5"/></svg>'
    )


def _spoken(contrast: Contrast, mean: float) -> str:
    single = ", ".join(f"{target} {signed(value.mean)}" for target, value in contrast.by_target.items())
    return f"{contrast.name}: mean {signed(mean)} points; {single}"


def _place(difference: float, scale: float) -> str:
    return f"{50 + 46 * difference / scale:.2f}%"
