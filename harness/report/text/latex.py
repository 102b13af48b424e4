"""The comparison as LaTeX: a document that compiles, of tables that can be copied into a paper one by one."""

from harness.report.analysis.cells import HEADLINE_METRIC
from harness.report.analysis.comparison import ORACLE_WARNING, Comparison
from harness.report.analysis.details import NO_DETAILS, Details
from harness.report.analysis.diagnostics import Diagnosis
from harness.report.analysis.rank_correlation import RankCorrelation
from harness.report.analysis.setting_table import Section, SettingTable
from harness.report.text.accuracy_grids import SOURCE, ensemble_name
from harness.report.text.diagnosis_grid import coefficient, diagnosis_notes
from harness.report.text.grid import nothing
from harness.report.text.latex_tables import cell_text, column, declarations, escaped, family_blocks, label, tabular
from harness.report.text.markdown import head_lines

PREAMBLE = r"""% Written by ndcl report. Each table needs \usepackage{booktabs}, one of many rows longtable, too.
\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage[margin=2cm]{geometry}
\usepackage{booktabs,longtable}
"""
BEGIN = "\\begin{document}\n"


def to_latex(comparison: Comparison, details: Details = NO_DETAILS) -> str:
    """A table for each setting and metric that has a value: rows algorithms, columns target domains and their mean.

    And one for each data set with diagnostics: rows quantities of the theory, columns algorithms.
    """
    tables = [_table(comparison, table, part) for table in comparison.tables for part in table.sections if part.cells]
    tables += [_diagnosis(comparison, diagnosis) for diagnosis in details.diagnoses]
    body = "\n".join(tables or [escaped(nothing(comparison))])
    return f"{PREAMBLE}{declarations(body)}{BEGIN}{body}\n\\end{{document}}\n"


def _table(comparison: Comparison, table: SettingTable, part: Section) -> str:
    columns = [[part.cells.get((name, target)) for name in table.algorithms] for target in table.targets]
    columns.append([part.means.get(name) for name in table.algorithms])
    cells = list(zip(*map(column, columns), strict=True))
    ensembles = [column([part.ensembles.get((name, t)) for name in table.algorithms]) for t in table.targets]
    ensembles.append(column([part.ensemble_means.get(name) for name in table.algorithms]))
    lines = {}
    for position, (name, row) in enumerate(zip(table.algorithms, cells, strict=True)):
        lines[name] = [" & ".join([escaped(name), *row])]
        if any((name, target) in part.ensembles for target in table.targets):
            lines[name].append(" & ".join([escaped(ensemble_name(table, name)), *(own[position] for own in ensembles)]))
    blocks = family_blocks(lines, table.families, len(columns) + 1)
    if part.metric == HEADLINE_METRIC:
        blocks.append(_source_rows(table))
    header = " & ".join(["algorithm", *map(escaped, table.targets), "mean"])
    name = label(table.dataset, table.setting, part.metric)
    return tabular(_caption(comparison, table, part), name, [header], blocks)


def _source_rows(table: SettingTable) -> list[str]:
    """What the same models reach on the domains that they know; none of it is bold."""
    return [
        " & ".join([escaped(f"{name} {SOURCE}"), *(cell_text(cell) for cell in table.source_row(name))])
        for name in table.algorithms
        if table.source_row(name)
    ]


def _diagnosis(comparison: Comparison, diagnosis: Diagnosis) -> str:
    algorithms = diagnosis.present(comparison.algorithms)
    rows = [
        " & ".join([escaped(measure), *(_correlation(row[name]) for name in algorithms)])
        for measure, row in diagnosis.correlations.items()
    ]
    warning = f"{ORACLE_WARNING} " if comparison.oracle else ""
    caption = escaped(
        f"{warning}{diagnosis.dataset}: Spearman's rank correlation with the overall accuracy on the unseen domain; in "
        f"parentheses that of the ranks within each study. {diagnosis_notes(diagnosis)[0]}"
    )
    header = " & ".join(["quantity", *map(escaped, algorithms)])
    return tabular(caption, label(diagnosis.dataset, "diagnostics"), [header], [rows])


def _correlation(found: RankCorrelation) -> str:
    shown = (f"${coefficient(value)}$" if value is not None else "--" for value in (found.rho, found.within))
    return "{} ({})".format(*shown)


def _caption(comparison: Comparison, table: SettingTable, part: Section) -> str:
    warning = f"{ORACLE_WARNING} " if comparison.oracle else ""
    lines = [
        f"{warning}{table.dataset}, {table.setting}: {part.metric} accuracy on the unseen domain in %, mean and "
        "standard error over seeds.",
        *head_lines(comparison),
    ]
    if part.means and len(part.mean_over) < len(table.targets):
        lines.append(f"The mean is over {', '.join(part.mean_over)}.")
    if part.metric == HEADLINE_METRIC and table.sources:
        lines.append(f"{SOURCE}: of the same models on validation images of the domains that they were trained on.")
    if part.ensembles:
        lines.append("An ensemble is a study's final runs as one model; its error is over images.")
    if any(cell.provisional for cell in part.cells.values()):
        lines.append("A star: one search trial, no final run has finished.")
    return escaped(" ".join(lines))
