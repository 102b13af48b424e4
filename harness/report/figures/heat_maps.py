"""Importances and confusions as pictures: squares whose shade is a share."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.report.analysis.details import StudyDetails
from harness.report.analysis.setting_table import SettingTable
from harness.report.figures.canvas import INK, MUTED, new_figure, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAP = "Blues"
NAMED_CLASSES = 12
DARK = 0.6
"""Shares above it are dark squares, with light numbers."""


def draw_importances(table: SettingTable, studies: Sequence[StudyDetails], title: str, paths: Sequence[Path]) -> None:
    """Write a panel for each algorithm, of searched values by target domain; at least one study has importances."""
    found = {name: _importances(studies, name) for name in table.algorithms}
    found = {name: by_target for name, by_target in found.items() if by_target}
    num_keys = max(len(_keys(by_target)) for by_target in found.values())
    width = 1.9 + 0.55 * len(table.targets)
    figure = new_figure(width * len(found), 1.7 + 0.3 * num_keys, title)
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for panel, (name, by_target) in zip(panels, found.items(), strict=True):
        keys = _keys(by_target)
        shares = np.array([[by_target.get(t, {}).get(key, np.nan) for t in table.targets] for key in keys])
        _draw_shares(panel, shares, numbers=True)
        panel.set_title(name, loc="left", fontsize=10, color=INK)
        panel.set_xticks(range(len(table.targets)), table.targets, rotation=35, ha="right", fontsize=8)
        panel.set_yticks(range(len(keys)), [key.removeprefix("algorithm.") for key in keys], fontsize=8)
    write(figure, title, paths)


def draw_confusions(table: SettingTable, studies: Sequence[StudyDetails], title: str, paths: Sequence[Path]) -> None:
    """Write a row of matrices for each algorithm, a column for each target domain; at least one study has a matrix."""
    found = {(s.key.algorithm, s.key.target): s.confusion for s in studies if s.confusion}
    figure = new_figure(0.8 + 1.9 * len(table.targets), 0.9 + 1.9 * len(table.algorithms), title)
    panels = figure.subplots(len(table.algorithms), len(table.targets), squeeze=False)
    for row, algorithm in zip(panels, table.algorithms, strict=True):
        row[0].set_ylabel(algorithm, fontsize=9, color=INK)
        for panel, target in zip(row, table.targets, strict=True):
            confusion = found.get((algorithm, target))
            if confusion:
                _draw_shares(panel, confusion.shares, numbers=False)
            panel.set_xticks([])
            panel.set_yticks([])
    _name_classes(panels, next(iter(found.values())).classes)
    for panel, target in zip(panels[0], table.targets, strict=True):
        panel.set_title(target, fontsize=9, color=INK)
    about = "rows are true classes, columns what they were taken for, in the same order; shaded by a row's shares"
    figure.supxlabel(about, fontsize=8, color=MUTED)
    write(figure, title, paths)


def _name_classes(panels: NDArray[np.object_], classes: Sequence[str]) -> None:
    """The classes' names at the outer panels, if there is room for them."""
    if len(classes) > NAMED_CLASSES:
        return
    for panel in panels[:, 0]:
        panel.set_yticks(range(len(classes)), classes, fontsize=6)
    for panel in panels[-1]:
        panel.set_xticks(range(len(classes)), classes, fontsize=6, rotation=90 if max(map(len, classes)) > 2 else 0)


def _importances(studies: Sequence[StudyDetails], algorithm: str) -> dict[str, dict[str, float]]:
    """By target domain and key, of the studies that have them."""
    return {s.key.target: dict(s.importance) for s in studies if s.key.algorithm == algorithm and s.importance}


def _keys(by_target: dict[str, dict[str, float]]) -> list[str]:
    return sorted({key for shares in by_target.values() for key in shares})


def _draw_shares(panel: "Axes", shares: NDArray[np.float64], *, numbers: bool) -> None:
    panel.imshow(shares, cmap=MAP, vmin=0, vmax=1, aspect="auto" if numbers else "equal")
    panel.tick_params(length=0)
    if numbers:
        for (row, column), share in np.ndenumerate(shares):
            if not np.isnan(share):
                own = "white" if share > DARK else INK
                panel.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, color=own)
