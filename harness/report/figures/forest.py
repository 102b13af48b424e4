"""The paired differences as a forest plot: a panel for each metric, a row for each algorithm."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.report.analysis.contrasts import Contrast
from harness.report.analysis.setting_table import SettingTable
from harness.report.figures.canvas import MUTED, RULE, colour, new_figure, plain, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_forest(table: SettingTable, title: str, paths: Sequence[Path]) -> None:
    """Write the picture of a table's contrasts with its reference, of which at least one has a result."""
    sections = [section for section in table.sections if any(contrast.result for contrast in section.contrasts)]
    num_rows = max(len(section.contrasts) for section in sections)
    figure = new_figure(1.4 + 2.2 * len(sections), 1.5 + 0.34 * num_rows, title)
    panels = figure.subplots(1, len(sections), squeeze=False, sharey=True)[0]
    for panel, section in zip(panels, sections, strict=True):
        plain(panel, section.metric)
        panel.axvline(0, color=MUTED, linewidth=0.8)
        panel.grid(axis="x", color=RULE, linewidth=0.7)
        for row, contrast in enumerate(section.contrasts):
            _draw_row(panel, row, contrast)
    names = [contrast.algorithm for contrast in sections[0].contrasts]
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    about = f"points from {table.algorithms[0]}: mean and 95 % interval; rings are single target domains"
    figure.supxlabel(about, fontsize=8, color=MUTED)
    write(figure, title, paths)


def _draw_row(panel: "Axes", row: int, contrast: Contrast) -> None:
    if contrast.mean is None or contrast.result is None:
        return
    own = colour(row + 1)  # the reference has the first
    if contrast.result.interval:
        panel.plot([100 * end for end in contrast.result.interval], [row, row], color=own, linewidth=2)
    single = [100 * cell.mean for cell in contrast.by_target.values()]
    panel.plot(single, [row] * len(single), "o", markersize=4, markerfacecolor="none", markeredgecolor=MUTED)
    panel.plot(100 * contrast.mean.mean, row, "o", markersize=6, color=own)
