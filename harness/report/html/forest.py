"""Mean differences from the reference in the HTML report, drawn and in numbers."""

from collections.abc import Sequence
from html import escape

from harness.report.analysis.contrasts import Contrast
from harness.report.analysis.paired_statistics import PairedResult
from harness.report.analysis.setting_table import Section, SettingTable
from harness.report.html.parts import colour, head, minus, row_head, table
from harness.report.text.contrast_grids import probability, verdict_of
from harness.report.text.grid import signed


def forest(shown: SettingTable, part: Section, mark: str) -> str:
    """Mean differences from the reference with their intervals, drawn on one scale and given in numbers."""
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
        + f'<td class="left"><span class="{result.verdict.split()[0]}">{escape(verdict_of(contrast))}</span>'
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
