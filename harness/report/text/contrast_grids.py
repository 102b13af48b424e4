"""Differences between algorithms as grids of text: from the reference, with the statistics, and of every two."""

from collections.abc import Mapping, Sequence

from harness.report.analysis.contrasts import Contrast
from harness.report.analysis.paired_statistics import LEVEL, SHOWN_DIFFERENT, Interval, PairedResult
from harness.report.analysis.setting_table import Section, SettingTable
from harness.report.text.grid import EMPTY, Block, Grid, NamedRow, Row, family_blocks, label_rows, signed

NO_RESULT = "no pairs yet"
INTERVALS = ("95 % interval", "over domains")


def contrast_grid(table: SettingTable) -> Grid | None:
    """What the differences from the reference amount to over all target domains; None without any pair."""
    sections = [section for section in table.sections if _results(section.contrasts)]
    if not sections:
        return None
    over_domains = any(result.interval_over_targets for s in sections for result in _results(s.contrasts))
    blocks = [block for section in sections for block in _contrast_blocks(section, over_domains, table.families)]
    return Grid(
        title=f"{table.dataset}, {table.setting}: mean difference from {table.algorithms[0]} in percentage points",
        header=("metric", "algorithm", "mean", *INTERVALS[: 1 + over_domains], "pairs", "p", "verdict"),
        blocks=tuple(rows for _, rows in blocks),
        headings=tuple(heading for heading, _ in blocks),
        notes=tuple(_contrast_notes(sections, over_domains)),
    )


def ensemble_grid(table: SettingTable) -> Grid | None:
    """What the differences between ensembles amount to, image by image; None where no two can be compared."""
    if not table.ensemble_contrasts:
        return None
    rows = [
        (
            contrast.algorithm,
            [
                signed(contrast.mean),
                _interval(contrast.interval),
                str(contrast.num_images),
                probability(contrast.p_corrected),
                contrast.verdict,
            ],
            [False] * 4 + [contrast.verdict in SHOWN_DIFFERENT],
        )
        for contrast in table.ensemble_contrasts
    ]
    number = len(table.ensemble_contrasts)
    return Grid(
        title=f"{table.dataset}, {table.setting}: ensembles, mean difference from {table.algorithms[0]} in percentage "
        "points",
        header=("metric", "algorithm", "mean", INTERVALS[0], "images", "p", "verdict"),
        blocks=(label_rows("overall", rows),),
        notes=(
            "Of these very models: the interval resamples images within each target domain, p is McNemar's exact test "
            f"over all images{_correction(number)}. How models trained "
            "anew would differ is what the table above tells.",
        ),
    )


def matrix_grid(table: SettingTable) -> Grid | None:
    """Mean differences of every two algorithms; None with fewer than three, as the contrasts say it all then."""
    sections = [section for section in table.sections if _results(section.pairwise)]
    if len(table.algorithms) < 3 or not sections:
        return None
    return Grid(
        title=f"{table.dataset}, {table.setting}: every two algorithms, row minus column in percentage points",
        header=("metric", "algorithm", *table.algorithms),
        blocks=tuple(_matrix_rows(table, section) for section in sections),
        notes=(f"Bold: higher or lower, by the same rule{_correction(len(_results(sections[0].pairwise)))}.",),
    )


def verdict_of(contrast: Contrast) -> str:
    """`higher`, or `not significant: domains disagree`."""
    if contrast.result is None:
        return NO_RESULT
    why = contrast.why_not_significant
    return f"{contrast.result.verdict}: {why}" if why else contrast.result.verdict


def probability(p: float) -> str:
    """`0.013`, or `<0.001`."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _results(contrasts: Sequence[Contrast]) -> list[PairedResult]:
    return [contrast.result for contrast in contrasts if contrast.result is not None]


def _correction(num_contrasts: int) -> str:
    return f", with p Holm-corrected for {num_contrasts} contrasts" if num_contrasts > 1 else ""


def _contrast_blocks(section: Section, over_domains: bool, families: Mapping[str, str]) -> list[Block]:
    rows: list[tuple[str, NamedRow]] = []
    for contrast in section.contrasts:
        result, num_intervals = contrast.result, 1 + over_domains
        cells = [EMPTY if contrast.mean is None else signed(contrast.mean.mean)]
        if result is None:
            cells += [EMPTY] * (num_intervals + 2) + [NO_RESULT]
        else:
            cells += map(_interval, (result.interval, result.interval_over_targets)[:num_intervals])
            cells += [str(result.num_pairs), probability(result.p_corrected), verdict_of(contrast)]
        different = result is not None and result.verdict in SHOWN_DIFFERENT
        row = (contrast.algorithm, cells, [False] * (len(cells) - 1) + [different])
        rows.append((contrast.algorithm, row))
    return family_blocks(section.metric, rows, families)


def _contrast_notes(sections: Sequence[Section], over_domains: bool) -> list[str]:
    found = [(section.metric, contrast) for section in sections for contrast in section.contrasts]
    lines = [
        "within noise: the 95 % interval contains 0, so that other seeds could turn the mean around; not significant: "
        f"it excludes 0, but p is {LEVEL} or more, since domains or seeds disagree or many contrasts are tested. The "
        "interval is for these target domains (bootstrap of the seeds within each)"
        + ("; over domains: as if these were drawn from many. " if over_domains else ". ")
        + "p: Wilcoxon's signed-rank test over the pairs of target domain and seed"
        + f"{_correction(len(_results(sections[0].contrasts)))}."
    ]
    if any(result.verdict == "too few pairs" for section in sections for result in _results(section.contrasts)):
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
    text = signed(sign * contrast.mean.mean) + ("*" if contrast.mean.provisional else "")
    return text, contrast.result is not None and contrast.result.verdict in SHOWN_DIFFERENT
