"""Differences between algorithms as grids of text: from the reference, with the statistics, and of every two."""

from collections.abc import Mapping

from harness.paired_statistics import LEVEL, Interval
from harness.report_contrasts import Contrast
from harness.report_layout import EMPTY, Grid, Row, label_rows, signed
from harness.report_tables import Section, SettingTable

SHOWN_DIFFERENT = ("higher", "lower")
"""Verdicts by which two algorithms differ."""
NO_RESULT = "no pairs yet"
INTERVALS = ("95 % interval", "over domains")


def contrast_grid(table: SettingTable) -> Grid | None:
    """What the differences from the reference amount to over all target domains; None if there is nothing to say."""
    sections = [section for section in table.sections if section.mean_over and section.contrasts]
    if not sections:
        return None
    reference = sections[0].contrasts[0].reference
    results = [contrast.result for section in sections for contrast in section.contrasts if contrast.result]
    over_domains = any(result.interval_over_targets for result in results)
    return Grid(
        title=f"{table.dataset}, {table.setting}: mean difference from {reference} in percentage points",
        header=("metric", "algorithm", "mean", *INTERVALS[: 1 + over_domains], "pairs", "p", "verdict"),
        blocks=tuple(_contrast_rows(section, over_domains) for section in sections),
        notes=tuple(_contrast_notes(table, over_domains)),
    )


def matrix_grid(table: SettingTable) -> Grid | None:
    """Mean differences of every two algorithms; None with fewer than three, as the contrasts say it all then."""
    blocks = [_matrix_rows(table, section) for section in table.sections if section.mean_over]
    if len(table.algorithms) < 3 or not blocks:
        return None
    num_contrasts = len(table.sections[0].pairwise)
    return Grid(
        title=f"{table.dataset}, {table.setting}: every two algorithms, row minus column in percentage points",
        header=("metric", "algorithm", *table.algorithms),
        blocks=tuple(blocks),
        notes=(
            f"Bold: not within noise, by the same rule; p is Holm-corrected for {num_contrasts} contrasts of a metric.",
        ),
    )


def _contrast_rows(section: Section, over_domains: bool) -> tuple[Row, ...]:
    rows = []
    for contrast in section.contrasts:
        result, num_intervals = contrast.result, 1 + over_domains
        cells = [EMPTY if contrast.mean is None else signed(contrast.mean.mean)]
        if result is None:
            cells += [EMPTY] * (num_intervals + 2) + [NO_RESULT]
        else:
            cells += map(_interval, (result.interval, result.interval_over_targets)[:num_intervals])
            cells += [str(result.num_pairs), _probability(result.p_corrected), result.verdict]
        different = result is not None and result.verdict in SHOWN_DIFFERENT
        rows.append((contrast.algorithm, cells, [False] * (len(cells) - 1) + [different]))
    return label_rows(section.metric, rows)


def _contrast_notes(table: SettingTable, over_domains: bool) -> list[str]:
    found = [(section.metric, contrast) for section in table.sections for contrast in section.contrasts]
    results = [contrast.result for _, contrast in found if contrast.result is not None]
    corrected = len(table.algorithms) - 1
    lines = [
        f"within noise: the 95 % interval contains 0, or p is {LEVEL} or more. The interval is for these target "
        "domains (bootstrap of the seeds within each)"
        + ("; over domains: as if these were drawn from many. " if over_domains else ". ")
        + "p: Wilcoxon's signed-rank test over the pairs of target domain and seed"
        + (f", Holm-corrected for {corrected} contrasts." if corrected > 1 else ".")
    ]
    if any(result.verdict == "too few pairs" for result in results):
        lines.append("too few pairs: no difference could be shown with so few, however large it is; run more seeds.")
    lines += [
        f"{metric}, {contrast.algorithm}: {contrast.result.verdict} on these target domains, but not to be expected of "
        "every other one: the interval over domains contains 0."
        for metric, contrast in found
        if contrast.result is not None and _depends_on_targets(contrast)
    ]
    return lines


def _depends_on_targets(contrast: Contrast) -> bool:
    result = contrast.result
    interval = result.interval_over_targets if result and result.verdict in SHOWN_DIFFERENT else None
    return interval is not None and interval[0] <= 0 <= interval[1]


def _interval(interval: Interval | None) -> str:
    return EMPTY if interval is None else f"{signed(interval[0])} to {signed(interval[1])}"


def _probability(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _matrix_rows(table: SettingTable, section: Section) -> tuple[Row, ...]:
    found = {(contrast.algorithm, contrast.reference): contrast for contrast in section.pairwise}
    rows = []
    for first in table.algorithms:
        entries = [_entry(found, first, second) for second in table.algorithms]
        rows.append((first, [text for text, _ in entries], [bold for _, bold in entries]))
    return label_rows(section.metric, rows)


def _entry(found: Mapping[tuple[str, str], Contrast], first: str, second: str) -> tuple[str, bool]:
    """Text of `first` minus `second`, and whether it is bold; each two algorithms stand in `found` one way round."""
    sign, contrast = (1, found[first, second]) if (first, second) in found else (-1, found.get((second, first)))
    if contrast is None or contrast.mean is None:
        return ("" if first == second else EMPTY), False
    star = "*" if contrast.mean.provisional else ""
    return f"{signed(sign * contrast.mean.mean)}{star}", bool(
        contrast.result and contrast.result.verdict in SHOWN_DIFFERENT
    )
