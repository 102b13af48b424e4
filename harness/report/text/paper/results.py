"""Algorithms by settings: mean accuracies, their differences from the reference with a mark of significance, ranks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.report.analysis.cells import Cell
from harness.report.analysis.comparison import ORACLE_WARNING, Comparison
from harness.report.analysis.contrasts import Contrast
from harness.report.analysis.distinct_metrics import distinct_metrics
from harness.report.analysis.paired_statistics import SHOWN_DIFFERENT
from harness.report.analysis.ranks import Ranks, ranks_of
from harness.report.analysis.setting_table import Section, SettingTable
from harness.report.text.display_names import display_names, setting_title
from harness.report.text.grid import rounded, signed
from harness.report.text.latex_tables import MISSING, column, escaped, family_blocks, label, tabular
from harness.report.text.markdown import head_lines

MOST_SETTINGS = 3
"""Of more a table would be wider than a page; a further table has the others."""
PREVIEW = r"\dagger"
"""Marks a number that rests on a search trial, since no final run has finished."""
SHOTS = {"many": "many-shot", "median": "median-shot", "few": "few-shot"}
"""Metrics that are called otherwise in a sentence."""
PREVIEW_NOTE = rf"${PREVIEW}$: one search trial, no final run has finished."


@dataclass(frozen=True, kw_only=True)
class Column:
    """One setting under one metric."""

    title: str
    means: Mapping[str, Cell]
    contrasts: Sequence[Contrast]
    ranks: Ranks | None


def results(comparison: Comparison) -> str:
    """A table for each data set and metric that says something of its own."""
    names = display_names(comparison.methods)
    parts = []
    for dataset, tables in of_datasets(comparison).items():
        for metric, equal in distinct_metrics(tables).items():
            shown = [_column(table, section_of(table, metric)) for table in tables]
            groups = [shown[start : start + MOST_SETTINGS] for start in range(0, len(shown), MOST_SETTINGS)]
            for number, group in enumerate(groups, 1):
                caption = _caption(comparison, tables, metric, equal, group, number if len(groups) > 1 else 0)
                own = label("results", dataset, metric, *([str(number)] if len(groups) > 1 else []))
                rows = {name: names[name] for name in comparison.algorithms if any(name in c.means for c in group)}
                parts.append(results_table(caption, own, rows, group, comparison.families))
    return "\n".join(parts)


def of_datasets(comparison: Comparison) -> dict[str, list[SettingTable]]:
    """The settings of each data set."""
    found: dict[str, list[SettingTable]] = {}
    for table in comparison.tables:
        found.setdefault(table.dataset, []).append(table)
    return found


def section_of(table: SettingTable, metric: str) -> Section:
    """The part of a table that has this metric."""
    return next(section for section in table.sections if section.metric == metric)


def results_table(
    caption: str, own: str, rows: Mapping[str, str], columns: Sequence[Column], families: Mapping[str, str]
) -> str:
    """A row for each algorithm, by its name and what it is called; under each setting mean, difference and rank."""
    with_ranks = any(each.ranks for each in columns)
    parts = ["mean", r"$\Delta$", *(["rank"] if with_ranks else [])]
    width = len(parts)
    tops = [rf"\multicolumn{{{width}}}{{c}}{{{escaped(each.title)}}}" for each in columns]
    rules = [rf"\cmidrule(lr){{{2 + width * i}-{1 + width * (i + 1)}}}" for i in range(len(columns))]
    header = [" & ".join(["", *tops]), "".join(rules), " & ".join(["algorithm", *parts * len(columns)])]
    cells = [cell for each in columns for cell in _parts(each, list(rows), with_ranks)]
    lines = {
        name: [" & ".join([escaped(title), *row])] for (name, title), *row in zip(rows.items(), *cells, strict=True)
    }
    return tabular(caption, own, header, family_blocks(lines, families, len(cells) + 1))


def _parts(shown: Column, names: Sequence[str], with_ranks: bool) -> list[list[str]]:
    """The columns of one setting."""
    differences = {contrast.algorithm: contrast for contrast in shown.contrasts}
    parts = [column([shown.means.get(name) for name in names], PREVIEW)]
    parts.append([_difference(differences.get(name)) for name in names])
    if with_ranks:
        parts.append([f"{shown.ranks.means[n]:.1f}" if shown.ranks and n in shown.ranks.means else "" for n in names])
    return parts


def _difference(contrast: Contrast | None) -> str:
    if contrast is None:
        return ""
    if contrast.mean is None:
        return MISSING
    significant = contrast.result is not None and contrast.result.verdict in SHOWN_DIFFERENT
    error = "" if contrast.mean.error is None else rf" {{\scriptsize$\pm${rounded(contrast.mean.error)}}}"
    return rf"${signed(contrast.mean.mean)}${error}{r'$^{*}$' if significant else ''}"


def _column(table: SettingTable, section: Section) -> Column:
    return Column(
        title=setting_title(table.setting, table.imbalance),
        means=section.means,
        contrasts=section.contrasts,
        ranks=ranks_of(section, table.algorithms),
    )


def _caption(
    comparison: Comparison,
    tables: Sequence[SettingTable],
    metric: str,
    equal: Sequence[str],
    group: Sequence[Column],
    number: int,
) -> str:
    names = display_names(comparison.methods)
    lines = [
        f"{tables[0].dataset}{f' ({number})' if number else ''}: {SHOTS.get(metric, metric)} accuracy in %"
        f"{_equal(equal)}, mean over {_domains(tables, metric)} and its standard error over seeds; best bold, second "
        "underlined.",
        *head_lines(comparison),
    ]
    caption = [*warning(comparison), *map(escaped, lines)]
    if any(each.contrasts for each in group):
        caption.append(difference_note(names[comparison.reference or ""]))
    if any(each.ranks for each in group):
        caption.append("rank: mean rank over unseen domains, 1 the highest.")
    if any(cell.provisional for each in group for cell in each.means.values()):
        caption.append(PREVIEW_NOTE)
    return " ".join(caption)


def warning(comparison: Comparison) -> list[str]:
    """What begins every caption if the oracle was used."""
    return [escaped(ORACLE_WARNING)] if comparison.oracle else []


def difference_note(reference: str) -> str:
    """What the differences and their stars are, as LaTeX."""
    return r"$\Delta$: " + escaped(
        f"difference from {reference} in points, paired by domain and seed; a star: significant, that is, its 95 % "
        "bootstrap interval excludes 0 and p < 0.05 (Wilcoxon's signed-rank test, Holm-corrected within a setting)."
    )


def _equal(metrics: Sequence[str]) -> str:
    others = " and ".join(SHOTS.get(metric, metric) for metric in metrics)
    return f" ({others} accuracy is the same here)" if metrics else ""


def _domains(tables: Sequence[SettingTable], metric: str) -> str:
    counts = sorted({len(section_of(table, metric).mean_over) for table in tables} - {0})
    return f"{' or '.join(map(str, counts))} unseen domain{'s' * (counts != [1])}"
