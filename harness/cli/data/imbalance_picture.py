"""An imbalance setting as a picture: for each target domain, the training images of every class and source domain."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.cli.data.imbalance_table import ratio_text
from harness.report.figures.canvas import save
from ndcl.imbalance import Overview, imbalance_ratio
from ndcl.imbalance.shots import SHOT_GROUPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_BARS = 24
"""Up to so many classes are drawn as bars with their names, more as points by rank."""
LEGEND_COLUMNS = 4
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F", "#B8A800")
"""Of the domains; colour-blind readers distinguish them, too (Okabe and Ito 2008)."""
SHADES = {"many": "#DDF0DD", "median": "#FFF6D6", "few": "#FBE0DC", "zero": "#E9DFF2"}
INK, MUTED = "#222222", "#666666"


def draw(overviews: Sequence[Overview], domains: Sequence[str], title: str, path: Path) -> None:
    """Write a panel for each target to `path`, of a format that its suffix names; counts are on a log scale.

    Raises ValueError for a suffix that names no format, OSError if the file can't be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # never pyplot: no window, no global state
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    num_columns = 1 if len(overviews) == 1 else 2
    num_rows = -(-len(overviews) // num_columns)
    figure = Figure(
        figsize=(8.2 * num_columns, 0.5 + 3.9 * num_rows), layout=ConstrainedLayoutEngine(h_pad=0.12, w_pad=0.12)
    )
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=14, fontweight="bold", color=INK)
    panels = figure.subplots(num_rows, num_columns, squeeze=False, sharey=True)
    colours = {domain: COLOURS[e % len(COLOURS)] for e, domain in enumerate(domains)}
    for panel, view in zip(panels.flat, overviews, strict=False):
        _draw_panel(panel, view, colours)
    for panel in panels.flat[len(overviews) :]:
        panel.set_axis_off()
    save(figure, [path], dpi=130)


def _draw_panel(panel: "Axes", view: Overview, colours: dict[str, str]) -> None:
    ranks = np.arange(len(view.classes))
    _scale(panel, view)
    _shade_groups(panel, view)
    few_classes = len(ranks) <= MOST_BARS
    (_draw_bars if few_classes else _draw_points)(panel, view, colours)
    panel.set_xlim(-0.5, len(ranks) - 0.5)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    _head(panel, view)


def _head(panel: "Axes", view: Overview) -> None:
    """Title, and below it the legend: both above the panel, so that they never cover anything."""
    from matplotlib.collections import PathCollection

    entries = len(panel.get_legend_handles_labels()[0])
    legend = panel.legend(
        loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=min(entries, LEGEND_COLUMNS), frameon=False, fontsize=8,
        handlelength=1.0, columnspacing=1.2, borderaxespad=0.15, labelspacing=0.3,
    )  # fmt: skip
    legend.set_in_layout(False)  # else a long one makes the panel narrow
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([22])
    groups = ", ".join(f"{name} {size}" for name, size in view.group_sizes.items() if size)
    ratio = ratio_text(imbalance_ratio(view.totals))
    title = f"target {view.target}: {view.totals.sum():,} images, ratio {ratio}; {groups}"
    panel.set_title(title, loc="left", fontsize=11, color=INK, pad=10 + 14 * -(-entries // LEGEND_COLUMNS))


def _scale(panel: "Axes", view: Overview) -> None:
    """Logarithmic, with room for 0 below 1."""
    panel.set_yscale("symlog", linthresh=1, linscale=0.35)
    top = max(10, int(view.counts.max()))
    ticks = [0, *(10**power for power in range(int(np.ceil(np.log10(top))) + 1))]
    panel.set_yticks(ticks, [f"{tick:,}" for tick in ticks], fontsize=8)
    panel.set_yticks([], minor=True)
    panel.set_ylim(0, max(panel.get_ylim()[1], top * 2.5))  # shared by the panels: the largest one counts
    panel.set_ylabel("training images", fontsize=9, color=MUTED)
    panel.grid(axis="y", color="#00000018", linewidth=0.7)
    panel.set_axisbelow(True)


def _shade_groups(panel: "Axes", view: Overview) -> None:
    """Classes stand by falling size, so that each shot group is one stretch: tint it and name it."""
    start = 0
    for group, members in groupby(view.groups[view.order].tolist()):
        size, name = len(list(members)), SHOT_GROUPS[group]
        panel.axvspan(start - 0.5, start + size - 0.5, color=SHADES[name], zorder=0, linewidth=0)
        if size / len(view.classes) > 0.1:  # the title has the numbers, also of those too narrow for a name
            place, transform = start + size / 2 - 0.5, panel.get_xaxis_transform()
            panel.text(
                place, 0.985, f"{name}-shot", fontsize=8, color=MUTED, transform=transform, ha="center", va="top"
            )
        start += size


def _draw_bars(panel: "Axes", view: Overview, colours: dict[str, str]) -> None:
    ranks, num_sources = np.arange(len(view.classes)), len(view.sources)
    width = 0.84 / num_sources
    for e, source in enumerate(view.sources):
        counts = view.counts[e, view.order]
        places = ranks + (e - (num_sources - 1) / 2) * width
        panel.bar(places, counts, width * 0.92, color=colours[source], label=_legend(view, e))
        if len(ranks) * num_sources <= 40:
            _number_bars(panel, places, counts)
    names = [view.classes[k] for k in view.order]
    slanted = sum(map(len, names)) > 70
    panel.set_xticks(ranks, names, fontsize=8, rotation=35 if slanted else 0, ha="right" if slanted else "center")
    panel.tick_params(axis="x", length=0)


def _number_bars(panel: "Axes", places: Any, counts: Any) -> None:
    for place, count in zip(places, counts, strict=True):
        panel.annotate(
            f"{count}", (place, count), (0, 1.5), textcoords="offset points", ha="center", fontsize=6, color=INK
        )


def _draw_points(panel: "Axes", view: Overview, colours: dict[str, str]) -> None:
    ranks = np.arange(len(view.classes))
    size = float(np.clip(1200 / len(ranks), 4, 22))
    for e, source in enumerate(view.sources):
        counts = view.counts[e, view.order]
        panel.scatter(ranks, counts, size, color=colours[source], alpha=0.75, linewidth=0, label=_legend(view, e))
    mean = view.counts.mean(axis=0)[view.order]
    panel.step(ranks, mean, where="mid", color=INK, linewidth=1.3, label="mean of the sources")
    panel.set_xlabel(f"rank of the class among {len(ranks)}, the largest first", fontsize=9, color=MUTED)
    step = 10 if len(ranks) <= 120 else 50
    shown = np.array([1, *range(step, len(ranks) + 1, step)])
    panel.set_xticks(shown - 1, shown, fontsize=8)


def _legend(view: Overview, e: int) -> str:
    counts = view.counts[e]
    return f"{view.sources[e]}: {counts.sum():,}, ratio {ratio_text(imbalance_ratio(counts))}"
