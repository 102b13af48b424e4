"""The course of the searches as a picture: best value so far over trials, and below it over training time."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.report.analysis.details import StudyDetails
from harness.report.analysis.setting_table import SettingTable
from harness.report.figures.canvas import MUTED, RULE, add_legend, colour, line_style, new_figure, plain, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AXES = ("search trials that ended", "training seconds")


def draw_searches(
    table: SettingTable, studies: Sequence[StudyDetails], names: Sequence[str], title: str, paths: Sequence[Path]
) -> None:
    """Write a column of two panels for each target domain; `names` are all algorithms, as their colours come."""
    figure = new_figure(0.6 + 2.7 * len(table.targets), 5.2, title)
    panels = figure.subplots(2, len(table.targets), squeeze=False)
    for column, target in zip(panels.T, table.targets, strict=True):
        for panel, label in zip(column, AXES, strict=True):
            plain(panel, target)
            panel.set_xlabel(label, fontsize=8, color=MUTED)
            panel.grid(axis="y", color=RULE, linewidth=0.7)
        for study in studies:
            if study.key.target == target:
                _draw_course(column, study, names.index(study.key.algorithm))
    for panel in panels[:, 0]:
        panel.set_ylabel("best so far, %", fontsize=8, color=MUTED)
    add_legend(figure, panels[0, 0], "best value of a finished trial by the sweep's own criterion")
    write(figure, title, paths)


def _draw_course(column: Sequence["Axes"], study: StudyDetails, position: int) -> None:
    points = [(point.num_trials, point.seconds, point.best) for point in study.search if point.best is not None]
    style = {"color": colour(position), "linestyle": line_style(position), "linewidth": 1.4}
    for axis, panel in enumerate(column):
        places, values = [point[axis] for point in points], [100 * point[2] for point in points]
        panel.step(places, values, where="post", label=study.key.algorithm, **style)
