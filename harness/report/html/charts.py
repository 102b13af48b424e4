"""Line charts of the HTML report as inline SVG: the course of the searches, accuracy over the imbalance ratio.

What they are made of serves the other charts too: axes, rules with numbers, the frame with its title.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from harness.report.analysis.curves import Curve, CurveMetric
from harness.report.analysis.search_course import SearchPoint
from harness.report.html.parts import colour, dash, minus

WIDTH, HEIGHT = 260, 176
LEFT, RIGHT, TOP, BOTTOM = 34, 252, 10, 148
"""Of the panel within the picture, in its own units, which are about a pixel."""
NUM_TICKS = 4
LEVEL, LEANING, LETTER = 2, 12, 3.6
"""Names of more letters than LEVEL lean below the axis, of at most LEANING letters; how much lower each reaches."""
Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Maps values to places in the picture."""

    low: float
    high: float
    bottom: float
    top: float
    log: bool = False
    """Of the horizontal axis alone."""

    def x(self, value: float) -> float:
        """Horizontal place."""
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return LEFT + (RIGHT - LEFT) * (value - low) / ((high - low) or 1)

    def y(self, value: float) -> float:
        """Vertical place."""
        return BOTTOM - (BOTTOM - TOP) * (value - self.bottom) / ((self.top - self.bottom) or 1)


def search_chart(
    title: str, courses: Mapping[str, Sequence[SearchPoint]], algorithms: Sequence[str], *, over_time: bool
) -> str:
    """Best value so far in % of each algorithm, over ended trials or over training seconds; one target domain."""
    lines = {name: _course(points, over_time) for name, points in courses.items()}
    values = [point for line in lines.values() for point in line]
    if not values:
        return framed(title, "no finished trial yet", "")
    ends = [(_abscissa(points[-1], over_time)) for points in courses.values() if points]
    axes = axes_around(values, low=0.0, high=max(ends))
    unit = "training seconds" if over_time else "trials"
    drawn = "".join(
        f'<path class="line{dash(algorithms.index(name))} {colour(algorithms.index(name))}" d="{_steps(axes, line)}">'
        f"<title>{escape(name)}</title></path>"
        for name, line in lines.items()
        if line
    )
    spoken = "; ".join(f"{name} {line[-1][1]:.1f} %" for name, line in lines.items() if line)
    ticks = [value for value in nice_ticks(0.0, max(ends)) if over_time or value == int(value)]
    return framed(title, f"best so far over {unit}: {spoken}", rules(axes, ticks, unit) + drawn)


def ratio_chart(curve: Curve, metric: CurveMetric, algorithms: Sequence[str]) -> str:
    """Mean accuracy in % of each algorithm at each imbalance ratio, with standard errors; one metric."""
    lines = {
        name: [(ratio, metric.cells[name, s]) for s, ratio in curve.ratios.items() if (name, s) in metric.cells]
        for name in curve.algorithms
    }
    spread = [
        (ratio, 100 * (cell.mean + sign * (cell.error or 0.0)))
        for line in lines.values() for ratio, cell in line for sign in (-1, 1)
    ]  # fmt: skip
    ratios = sorted(set(curve.ratios.values()))
    axes = axes_around(spread, low=ratios[0] / 1.2, high=ratios[-1] * 1.2, log=True)
    drawn = []
    for name, line in lines.items():
        position = algorithms.index(name)
        bars = "".join(
            f"M{axes.x(r):.1f} {axes.y(100 * (c.mean - c.error)):.1f}V{axes.y(100 * (c.mean + c.error)):.1f}"
            for r, c in line
            if c.error is not None
        )
        path = "L".join(f"{axes.x(r):.1f} {axes.y(100 * c.mean):.1f}" for r, c in line)
        dots = "".join(
            f'<circle class="mark" cx="{axes.x(r):.1f}" cy="{axes.y(100 * c.mean):.1f}" r="2.8"/>' for r, c in line
        )
        drawn.append(
            f'<g class="{colour(position)}"><title>{escape(name)}</title><path class="line" d="{bars}"/>'
            f'<path class="line{dash(position)}" d="M{path}"/>{dots}</g>'
        )
    spoken = "; ".join(
        f"{n} {', '.join(f'{100 * c.mean:.1f} % at {r:g}' for r, c in line)}" for n, line in lines.items()
    )
    title = f"{curve.dataset}, {curve.kind}: {metric.metric}"
    return framed(
        title, f"accuracy over the imbalance ratio: {spoken}", rules(axes, ratios, "imbalance ratio") + "".join(drawn)
    )


def nice_ticks(low: float, high: float) -> list[float]:
    """Some round numbers from `low` to `high`, both finite."""
    span = (high - low) or 1.0
    power = 10.0 ** math.floor(math.log10(span / NUM_TICKS))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= NUM_TICKS)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _abscissa(point: SearchPoint, over_time: bool) -> float:
    return point.seconds if over_time else float(point.num_trials)


def _course(points: Sequence[SearchPoint], over_time: bool) -> list[Point]:
    return [(_abscissa(point, over_time), 100 * point.best) for point in points if point.best is not None]


def axes_around(points: Sequence[Point], *, low: float, high: float, log: bool = False) -> Axes:
    """For points with the places `low` to `high`, with a tenth of room above and below; values in percent."""
    bottom, top = min(y for _, y in points), max(y for _, y in points)
    room = 0.1 * ((top - bottom) or 1.0)
    return Axes(low=low, high=high, bottom=max(0.0, bottom - room), top=min(100.0, top + room), log=log)


def _steps(axes: Axes, line: Sequence[Point]) -> str:
    """A path that rises where a better value was found, and continues to the right until then."""
    first, *others = line
    path = f"M{axes.x(first[0]):.1f} {axes.y(first[1]):.1f}"
    return path + "".join(f"H{axes.x(x):.1f}V{axes.y(y):.1f}" for x, y in others)


def rules(axes: Axes, ticks: Sequence[float], label: str, names: Sequence[str] = ()) -> str:
    """Rules, ticks and names of both axes; the ticks below have their numbers, or `names`, of which long ones lean."""
    levels = "".join(
        f'<line class="rule" x1="{LEFT}" x2="{RIGHT}" y1="{axes.y(v):.1f}" y2="{axes.y(v):.1f}"/>'
        f'<text x="{LEFT - 5}" y="{axes.y(v) + 3.5:.1f}" text-anchor="end">{minus(f"{v:g}")}</text>'
        for v in nice_ticks(axes.bottom, axes.top)
    )
    shown = names or [minus(f"{v:g}") for v in ticks]
    room = room_below(names)
    places = "".join(_tick(axes.x(v), text, room > 0) for v, text in zip(ticks, shown, strict=True))
    name = f'<text x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 26 + room:.1f}" text-anchor="middle">{escape(label)}</text>'
    return f'{levels}<path class="axis" d="M{LEFT} {BOTTOM}H{RIGHT}"/>{places}{name}'


def room_below(names: Sequence[str]) -> float:
    """What leaning names need below the axis beyond what numbers do."""
    longest = min(LEANING, max(map(len, names), default=0))
    return LETTER * longest if longest > LEVEL else 0.0


def _tick(x: float, text: str, leans: bool) -> str:
    if not leans:
        return f'<text x="{x:.1f}" y="{BOTTOM + 13}" text-anchor="middle">{escape(text)}</text>'
    cut = text if len(text) <= LEANING else f"{text[: LEANING - 1]}…"
    place = f"{x + 3:.1f} {BOTTOM + 9}"
    return f'<text transform="translate({place}) rotate(-40)" text-anchor="end">{escape(cut)}</text>'


def framed(title: str, spoken: str, drawing: str, room: float = 0.0) -> str:
    """A picture of this file's size, and `room` below, under its title, with words for who can't see it.

    Without a drawing the words stand there.
    """
    size, words = f"0 0 {WIDTH} {HEIGHT + room:g}", escape(f"{title}, {spoken}")
    picture = f'<svg viewBox="{size}" role="img" aria-label="{words}">{drawing}</svg>'
    return (
        f"<figure><figcaption><b>{escape(title)}</b></figcaption>{picture if drawing else f'<p>{spoken}</p>'}</figure>"
    )
