"""The decision margins in the HTML report: their distribution by shot group, and their mean by class."""

from collections.abc import Mapping, Sequence
from html import escape

from harness.report.analysis.comparison import Comparison
from harness.report.analysis.details import Details
from harness.report.analysis.margins import GROUPS, SIDES, Margins
from harness.report.html.charts import BOTTOM, LEFT, RIGHT, TOP, Axes, framed, nice_ticks, room_below, rules
from harness.report.html.confusions import NAMED_CLASSES, classes_in_order
from harness.report.html.parts import Names, colour, dash, legend, minus, tabs

HIGHEST_BOX = 9.0
GAP = 8.0
"""Between the boxes of source and target."""


def margins(names: Names, comparison: Comparison, details: Details) -> str:
    """A tab for each setting: a chart for each shot group, and two over the classes; nothing without diagnostics."""
    panels = {}
    for shown in comparison.tables:
        found = details.margins(shown.dataset, shown.setting, shown.algorithms)
        if found:
            charts = [_boxes(group, found, comparison.algorithms) for group in GROUPS]
            charts += [_by_class(side, found, comparison.algorithms) for side in SIDES]
            order = classes_in_order(next(iter(found.values())).classes)
            panels[f"{shown.dataset}, {shown.setting}"] = f'<div class="charts">{"".join(charts)}</div>{order}'
    return legend(comparison.algorithms) + tabs(names, "setting", panels) if panels else ""


def _boxes(group: str, found: Mapping[str, Margins], algorithms: Sequence[str]) -> str:
    """A box from the lower to the upper quartile with lines to 5 and 95 %, for each algorithm and side."""
    sides = {
        side: {n: own.groups[side][group] for n, own in found.items() if group in own.groups[side]} for side in SIDES
    }
    rows = [row for by_name in sides.values() for row in by_name.values()]
    if not rows:
        return ""
    axes = _around([row["q05"] for row in rows] + [row["q95"] for row in rows])
    step = (BOTTOM - TOP - GAP) / len(rows)
    drawn, y = [], TOP + step / 2
    for side, by_name in sides.items():
        middle = y + step * (len(by_name) - 1) / 2
        drawn.append(f'<text x="{LEFT - 5}" y="{middle + 3.5:.1f}" text-anchor="end">{side if by_name else ""}</text>')
        for name, row in by_name.items():
            drawn.append(_box(axes, y, min(step * 0.6, HIGHEST_BOX), row, algorithms.index(name), f"{name}, {side}"))
            y += step
        y += GAP
    told = (
        f"{name} on {side} median {row['q50']:.2g}" for side, by_name in sides.items() for name, row in by_name.items()
    )
    return framed(TITLES[group], f"decision margins: {'; '.join(told)}", _scale(axes) + "".join(drawn))


TITLES = {"all": "all images", **{group: f"{group}-shot classes" for group in GROUPS[1:]}}


def _around(values: Sequence[float]) -> Axes:
    """Margins to the right, 0 always among them."""
    low, high = min(0.0, *values), max(0.0, *values)
    room = 0.04 * (high - low)
    return Axes(low=low - room, high=high + room, bottom=0.0, top=1.0)


def _box(axes: Axes, y: float, height: float, row: Mapping[str, float], position: int, label: str) -> str:
    x = {name: f"{axes.x(value):.1f}" for name, value in row.items()}
    top = f"{y - height / 2:.1f}"
    return (
        f'<g class="{colour(position)}"><title>{escape(label)}</title>'
        f'<path class="line" d="M{x["q05"]} {y:.1f}H{x["q95"]}"/>'
        f'<path class="box" d="M{x["q25"]} {top}H{x["q75"]}v{height:.1f}H{x["q25"]}z"/>'
        f'<path class="middle" d="M{x["q50"]} {top}v{height:.1f}"/></g>'
    )


def _scale(axes: Axes) -> str:
    """Numbers below, a rule at each, and a line at 0."""
    marks = "".join(
        f'<path class="{"axis" if value == 0 else "rule"}" d="M{axes.x(value):.1f} {TOP}V{BOTTOM}"/>'
        f'<text x="{axes.x(value):.1f}" y="{BOTTOM + 13}" text-anchor="middle">{minus(f"{value:g}")}</text>'
        for value in nice_ticks(axes.low, axes.high)
    )
    return f'{marks}<text x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 26}" text-anchor="middle">decision margin</text>'


def _by_class(side: str, found: Mapping[str, Margins], algorithms: Sequence[str]) -> str:
    """Mean margin over the classes in id order, by name where there is room, a line for each algorithm."""
    lines = {
        name: [(k, value) for k, value in enumerate(own.per_class[side]) if value is not None]
        for name, own in found.items()
    }
    values = [value for line in lines.values() for _, value in line]
    classes = next(iter(found.values())).classes
    room = 0.1 * ((max(values) - min(values)) or 1.0)
    axes = Axes(low=-0.4, high=len(classes) - 0.6, bottom=min(values) - room, top=max(values) + room)
    drawn = []
    for name, line in lines.items():
        position, path = algorithms.index(name), "L".join(f"{axes.x(k):.1f} {axes.y(value):.1f}" for k, value in line)
        drawn.append(
            f'<path class="line{dash(position)} {colour(position)}" d="M{path}"><title>{escape(name)}</title></path>'
        )
    spoken = f"mean decision margin of each of {len(classes)} classes"
    if len(classes) <= NAMED_CLASSES:
        named = rules(axes, range(len(classes)), "class", classes)
        return framed(f"by class, {side}", spoken, named + "".join(drawn), room_below(classes))
    ticks = [value for value in nice_ticks(0, len(classes) - 1) if value == int(value)]
    return framed(f"by class, {side}", spoken, rules(axes, ticks, "class, by id") + "".join(drawn))
