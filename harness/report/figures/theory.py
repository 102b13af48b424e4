"""The diagnostics of the theory as pictures: quantities against accuracy, and the decision margins."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.report.analysis.diagnostics import MEASURES, Diagnosis
from harness.report.analysis.margins import GROUPS, SIDES, Margins
from harness.report.figures.canvas import MARKERS, MUTED, RULE, add_legend, colour, line_style, new_figure, plain, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUM_COLUMNS = 4
SIZES = {"search": 6, "final": 16}
"""Of a trial's mark by its stage."""
NAMED_CLASSES = 12


def draw_diagnosis(diagnosis: Diagnosis, names: Sequence[str], title: str, paths: Sequence[Path]) -> None:
    """Write a panel for each quantity, a mark for each trial; `names` are all algorithms, as their colours come."""
    num_rows = len(MEASURES) // NUM_COLUMNS
    figure = new_figure(0.6 + 2.7 * NUM_COLUMNS, 0.9 + 2.5 * num_rows, title)
    panels = figure.subplots(num_rows, NUM_COLUMNS, squeeze=False, sharey=True)
    for panel, measure in zip(panels.flat, MEASURES, strict=True):
        plain(panel, measure)
        panel.grid(color=RULE, linewidth=0.7)
        for name in diagnosis.present(names):
            _draw_trials(panel, diagnosis, measure, name, names.index(name))
    for panel in panels[:, 0]:
        panel.set_ylabel("accuracy on the unseen domain, %", fontsize=8, color=MUTED)
    add_legend(figure, panels[0, 0], "a mark is a trial at its selected checkpoint; final runs are larger")
    write(figure, title, paths)


def _draw_trials(panel: "Axes", diagnosis: Diagnosis, measure: str, name: str, position: int) -> None:
    own = [trial for trial in diagnosis.trials if trial.study.algorithm == name]
    marks = [
        (x, 100 * trial.accuracy, SIZES[trial.stage]) for trial in own if (x := trial.measures[measure]) is not None
    ]
    panel.scatter(
        [x for x, _, _ in marks],
        [y for _, y, _ in marks],
        s=[size for _, _, size in marks],
        color=colour(position), marker=MARKERS[position % len(MARKERS)], alpha=0.6, linewidths=0, label=name,
    )  # fmt: skip


def draw_margins(found: Mapping[str, Margins], names: Sequence[str], title: str, paths: Sequence[Path]) -> None:
    """Write a row of boxes by shot group and a row over the classes; `found` are means over domains by algorithm."""
    groups = [group for group in GROUPS if any(group in own.groups[side] for own in found.values() for side in SIDES)]
    figure = new_figure(0.8 + 2.4 * len(groups), 2.9 + 0.36 * len(found) + 2.2, title)
    above, below = figure.subfigures(2, 1, squeeze=False)[:, 0]
    for panel, group in zip(above.subplots(1, len(groups), squeeze=False)[0], groups, strict=True):
        plain(panel, group)
        _draw_boxes(panel, found, names, group)
    curves = below.subplots(1, len(SIDES), squeeze=False)[0]
    for panel, side in zip(curves, SIDES, strict=True):
        plain(panel, f"mean by class, {side}")
        _draw_classes(panel, found, names, side)
    add_legend(figure, curves[0], "boxes: quartiles, with lines to 5 and 95 %; means over seeds and target domains")
    write(figure, title, paths)


def _draw_boxes(panel: "Axes", found: Mapping[str, Margins], names: Sequence[str], group: str) -> None:
    panel.axvline(0, color=MUTED, linewidth=0.8)
    for place, (side, name) in enumerate((side, name) for side in SIDES for name in found):
        row = found[name].groups[side].get(group)
        if row is None:
            continue
        box = {"med": row["q50"], "q1": row["q25"], "q3": row["q75"], "whislo": row["q05"], "whishi": row["q95"]}
        own = {"color": colour(names.index(name)), "linewidth": 1.2}
        panel.bxp(
            [box], positions=[place], orientation="horizontal", widths=0.6, showfliers=False, manage_ticks=False,
            boxprops=own, whiskerprops=own, capprops=own, medianprops=own | {"linewidth": 2.2},
        )  # fmt: skip
    panel.set_yticks([len(found) * (half + 0.5) - 0.5 for half in range(len(SIDES))], SIDES, fontsize=8)
    panel.tick_params(axis="y", length=0)
    panel.invert_yaxis()
    panel.set_xlabel("decision margin", fontsize=8, color=MUTED)


def _draw_classes(panel: "Axes", found: Mapping[str, Margins], names: Sequence[str], side: str) -> None:
    panel.axhline(0, color=MUTED, linewidth=0.8)
    for name, own in found.items():
        position = names.index(name)
        values = [float("nan") if value is None else value for value in own.per_class[side]]
        panel.plot(values, color=colour(position), linestyle=line_style(position), linewidth=1.4, label=name)
    classes = next(iter(found.values())).classes
    if len(classes) <= NAMED_CLASSES:
        panel.set_xticks(range(len(classes)), classes, fontsize=8, rotation=35 if max(map(len, classes)) > 3 else 0)
