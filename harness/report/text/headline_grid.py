"""Overall accuracy alone, a table for each data set: what a terminal shows where all tables would be pages of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from harness.report.analysis.cells import HEADLINE_METRIC, Cell
from harness.report.analysis.comparison import Comparison
from harness.report.analysis.contrasts import Contrast
from harness.report.analysis.ranks import ranks_of
from harness.report.analysis.setting_table import Section, SettingTable
from harness.report.text.accuracy_grids import condition_notes
from harness.report.text.findings import finding
from harness.report.text.grid import EMPTY, Grid, NamedRow, family_blocks, highest, percent, signed

SIGNS = {"higher": "> ", "lower": "< "}
"""Before a mean that differs from the reference's, by its verdict."""
REST = (
    "This is overall accuracy. Every other metric and domain, differences with their intervals, and ensembles: in "
    "report.html and report.md."
)


def headline_grids(comparison: Comparison) -> Iterator[Grid]:
    """Of a data set under one setting its domains, mean, difference and rank; under several the mean of each."""
    datasets = dict.fromkeys(table.dataset for table in comparison.tables)
    for dataset in datasets:
        tables = [table for table in comparison.tables if table.dataset == dataset]
        names = [name for name in comparison.algorithms if any(name in table.algorithms for table in tables)]
        columns = _of_domains(tables[0]) if len(tables) == 1 else _of_settings(tables, names)
        yield _grid(dataset, tables, names, columns, comparison.families)


Columns = Mapping[str, tuple[Sequence[str], Sequence[bool]]]
"""By head: the cells of all algorithms, and which are bold."""


def _grid(
    dataset: str, tables: Sequence[SettingTable], names: Sequence[str], columns: Columns, families: Mapping[str, str]
) -> Grid:
    rows: list[tuple[str, NamedRow]] = []
    for position, name in enumerate(names):
        cells = [cells[position] for cells, _ in columns.values()]
        rows.append((name, (name, cells, [bold[position] for _, bold in columns.values()])))
    blocks = family_blocks("", rows, families)
    place = f"{dataset}, {tables[0].setting}" if len(tables) == 1 else dataset
    return Grid(
        title=f"{place}: {HEADLINE_METRIC} accuracy on the unseen domains in %",
        header=("algorithm", *columns),
        blocks=tuple(tuple(replace(row, labels=row.labels[1:]) for row in block) for _, block in blocks),
        headings=tuple(heading for heading, _ in blocks),
        notes=(
            f"{'Means over the unseen domains; ' if len(tables) > 1 else ''}± is the standard error over seeds, bold "
            f"the highest. >, <: the mean is higher or lower than that of {tables[0].algorithms[0]}, by interval and "
            "rank test. rank: mean rank over unseen domains, 1 the highest.",
            *_conditions(tables),
            *(f"{table.setting}: {finding(table)}" for table in tables),
        ),
    )


def _of_domains(table: SettingTable) -> Columns:
    section = _overall(table)
    cells = {t: [section.cells.get((name, t)) for name in table.algorithms] for t in table.targets}
    contrasts = {contrast.algorithm: contrast for contrast in section.contrasts}
    differences = [_points(contrasts.get(name)) for name in table.algorithms]
    return {
        **{target: ([*map(percent, own)], highest(own)) for target, own in cells.items()},
        "mean": _means(section, table.algorithms),
        f"from {table.algorithms[0]}": (differences, [False] * len(differences)),
        **_rank([table], table.algorithms),
    }


def _of_settings(tables: Sequence[SettingTable], names: Sequence[str]) -> Columns:
    return {**{table.setting: _means(_overall(table), names) for table in tables}, **_rank(tables, names)}


def _means(section: Section, names: Sequence[str]) -> tuple[list[str], list[bool]]:
    verdicts = {each.algorithm: each.result.verdict for each in section.contrasts if each.result}
    own: list[Cell | None] = [section.means.get(name) for name in names]
    signs = [SIGNS.get(verdicts.get(name, ""), "") for name in names]
    return [sign + percent(cell) for sign, cell in zip(signs, own, strict=True)], highest(own)


def _rank(tables: Sequence[SettingTable], names: Sequence[str]) -> Columns:
    """Mean ranks, over the settings too; none where a setting has too few algorithms or domains to rank."""
    found = [ranks_of(_overall(table), table.algorithms) for table in tables]
    ranks = [each.means for each in found if each is not None]
    if len(ranks) < len(tables):
        return {}
    shown = [f"{fmean(own[name] for own in ranks):.1f}" if all(name in o for o in ranks) else EMPTY for name in names]
    return {"rank": (shown, [False] * len(names))}


def _points(contrast: Contrast | None) -> str:
    if contrast is None:
        return ""
    return EMPTY if contrast.mean is None else signed(contrast.mean.mean)


def _conditions(tables: Sequence[SettingTable]) -> list[str]:
    """What must be known of the settings' numbers; what is the same of several is said once."""
    found: dict[str, list[str]] = {}
    for table in tables:
        stars = ["* rests on one search trial; no final run has finished."] if table.provisional else []
        for line in [*stars, *condition_notes(table)]:
            found.setdefault(line, []).append(table.setting)
    return [f"{', '.join(settings)}: {line}" for line, settings in found.items()]


def _overall(table: SettingTable) -> Section:
    return next(section for section in table.sections if section.metric == HEADLINE_METRIC)
