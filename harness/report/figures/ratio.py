"""Accuracy over the imbalance ratio as a picture: a row of panels per data set, a panel per metric."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.report.analysis.cells import Cell
from harness.report.analysis.curves import Curve, CurveMetric
from harness.report.figures.canvas import MARKERS, MUTED, RULE, add_legend, colour, line_style, new_figure, plain, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_curves(curves: Sequence[Curve], title: str, paths: Sequence[Path]) -> None:
    """Write the picture to each of `paths`, in the format that its suffix names."""
    num_columns = max(len(_drawn(curve)) for curve in curves)
    figure = new_figure(0.6 + 3.5 * num_columns, 0.9 + 3.1 * len(curves), title)
    panels = figure.subplots(len(curves), num_columns, squeeze=False)
    names = list(dict.fromkeys(name for curve in curves for name in curve.algorithms))
    for row, curve in zip(panels, curves, strict=True):
        row[0].set_ylabel("accuracy on the unseen domain, %", fontsize=8, color=MUTED)
        for panel, metric in zip(row, _drawn(curve), strict=False):
            _draw_panel(panel, curve, metric, names)
        for panel in row[len(_drawn(curve)) :]:
            panel.set_axis_off()
    add_legend(figure, panels.flat[0], "mean over target domains ± standard error over seeds")
    write(figure, title, paths)


def _drawn(curve: Curve) -> list[CurveMetric]:
    return [metric for metric in curve.metrics if metric.cells]


def _draw_panel(panel: "Axes", curve: Curve, metric: CurveMetric, names: Sequence[str]) -> None:
    for position, name in enumerate(names):
        shift = 1 + 0.02 * (position - (len(names) - 1) / 2)  # so that error bars don't cover each other
        points = [(r * shift, metric.cells[name, s]) for s, r in curve.ratios.items() if (name, s) in metric.cells]
        _draw_line(panel, points, position, name)
    plain(panel, f"{curve.dataset}, {curve.kind}: {metric.metric}")
    _scale(panel, sorted(set(curve.ratios.values())))
    panel.grid(axis="y", color=RULE, linewidth=0.7)


def _draw_line(panel: "Axes", points: Sequence[tuple[float, Cell]], position: int, name: str) -> None:
    panel.errorbar(
        [place for place, _ in points],
        [100 * cell.mean for _, cell in points],
        yerr=[100 * (cell.error or 0.0) for _, cell in points],
        color=colour(position), marker=MARKERS[position % len(MARKERS)],
        linestyle=line_style(position),
        markersize=5, linewidth=1.4, capsize=2.5, elinewidth=1.0, label=name,
    )  # fmt: skip


def _scale(panel: "Axes", ratios: Sequence[float]) -> None:
    """Logarithmic, with a tick at each ratio that was run and nowhere else."""
    panel.set_xscale("log")
    panel.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios], fontsize=8)
    panel.set_xticks([], minor=True)
    panel.set_xlabel("imbalance ratio", fontsize=8, color=MUTED)
