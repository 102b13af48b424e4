"""The diagnostics of the theory in the HTML report: each quantity against the accuracy on the unseen domain."""

from collections.abc import Mapping, Sequence
from html import escape

from harness.records import Stage
from harness.report.analysis.comparison import Comparison
from harness.report.analysis.details import Details
from harness.report.analysis.diagnostics import MEASURES, THEORY, Diagnosis
from harness.report.analysis.rank_correlation import RankCorrelation
from harness.report.html.charts import Point, axes_around, framed, nice_ticks, rules
from harness.report.html.parts import Names, colour, folded, grid_table, head, legend, minus, row_head, table, tabs
from harness.report.text.diagnosis_grid import coefficient, diagnosis_grid
from harness.report.text.grid import EMPTY, marked

ROOM = 0.04
"""Share of a chart's width left free at both sides."""


def theory(names: Names, comparison: Comparison, details: Details) -> str:
    """A chart for each quantity and the correlations, a tab for each data set; nothing without diagnostics."""
    algorithms = comparison.algorithms
    panels = {diagnosis.dataset: _panel(diagnosis, comparison) for diagnosis in details.diagnoses}
    return legend(algorithms) + tabs(names, "data set", panels) if panels else ""


def _panel(diagnosis: Diagnosis, comparison: Comparison) -> str:
    charts = [_scatter(measure, diagnosis, comparison.algorithms) for measure in MEASURES]
    numbers = marked([diagnosis_grid(diagnosis, comparison.algorithms)], comparison)
    return f'<div class="charts">{"".join(charts)}</div>{_coefficients(diagnosis, comparison)}' + folded(
        "Intervals, p and how to read this", "".join(map(grid_table, numbers))
    )


def _scatter(measure: str, diagnosis: Diagnosis, algorithms: Sequence[str]) -> str:
    """A point for each trial: the quantity to the right, accuracy in % upwards; final runs are larger."""
    groups: dict[tuple[str, Stage], list[Point]] = {}
    for trial in diagnosis.trials:
        value = trial.measures[measure]
        if value is not None:
            groups.setdefault((trial.study.algorithm, trial.stage), []).append((value, 100 * trial.accuracy))
    points = [point for own in groups.values() for point in own]
    if not points:
        return framed(measure, "no trial has it", "")
    low, high = min(x for x, _ in points), max(x for x, _ in points)
    room = ROOM * ((high - low) or 1.0)
    axes = axes_around(points, low=low - room, high=high + room)
    drawn = "".join(
        f'<path class="points {stage} {colour(algorithms.index(name))}" '
        f'd="{"".join(f"M{axes.x(x):.0f} {axes.y(y):.0f}h0" for x, y in own)}"><title>{escape(name)}</title></path>'
        for (name, stage), own in sorted(groups.items(), key=lambda item: item[0][1], reverse=True)
    )
    spoken = f"accuracy on the unseen domain in % of {len(points)} trials"
    return framed(
        measure, spoken, rules(axes, nice_ticks(axes.low, axes.high), f"by theory accuracy {THEORY[measure]}") + drawn
    )


def _coefficients(diagnosis: Diagnosis, comparison: Comparison) -> str:
    """Rows quantities, columns algorithms: over all trials, and below it within studies."""
    algorithms = diagnosis.present(comparison.algorithms)
    caption = (
        f"{comparison.mark}{diagnosis.dataset}: Spearman's rank correlation with the overall accuracy on the unseen "
        "domain over all trials; below it that of the ranks within each study"
    )
    rows = [row_head(measure) + _row(row, algorithms) for measure, row in diagnosis.correlations.items()]
    return table(caption, [head("quantity"), *map(head, algorithms)], [rows], "coefficients")


def _row(row: Mapping[str, RankCorrelation], algorithms: Sequence[str]) -> str:
    return "".join(
        f'<td>{minus(coefficient(row[name].rho))}<span class="small">{minus(coefficient(row[name].within))}</span></td>'
        if row[name].rho is not None
        else f"<td>{EMPTY}</td>"
        for name in algorithms
    )
