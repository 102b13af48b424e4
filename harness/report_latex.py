"""The comparison as LaTeX: a document that compiles, of tables that can be copied into a paper one by one."""

from collections.abc import Sequence

from harness.rank_correlation import RankCorrelation
from harness.report import NOTHING, selection_lines
from harness.report_cells import Cell
from harness.report_comparison import ORACLE_WARNING, Comparison
from harness.report_details import NO_DETAILS, Details
from harness.report_diagnostics import Diagnosis
from harness.report_grids import coefficient, diagnosis_notes
from harness.report_layout import highest, rounded, second_highest
from harness.report_tables import Section, SettingTable

PREAMBLE = r"""% Written by ndcl report. Each table needs \usepackage{booktabs} and nothing else.
\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage[margin=2cm]{geometry}
\usepackage{booktabs}
\begin{document}
"""
SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def to_latex(comparison: Comparison, details: Details = NO_DETAILS) -> str:
    """A table for each setting and metric that has a value: rows algorithms, columns target domains and their mean.

    And one for each data set with diagnostics: rows quantities of the theory, columns algorithms.
    """
    tables = [_table(comparison, table, part) for table in comparison.tables for part in table.sections if part.cells]
    tables += [_diagnosis(comparison, diagnosis) for diagnosis in details.diagnoses]
    return PREAMBLE + "\n".join(tables or [NOTHING]) + "\n\\end{document}\n"


def escaped(text: str) -> str:
    """As it is read, where LaTeX is written."""
    return "".join(SPECIAL.get(character, character) for character in text)


def _table(comparison: Comparison, table: SettingTable, part: Section) -> str:
    columns = [[part.cells.get((name, target)) for name in table.algorithms] for target in table.targets]
    columns.append([part.means.get(name) for name in table.algorithms])
    cells = list(zip(*map(_column, columns), strict=True))
    rows = [" & ".join([escaped(name), *row]) for name, row in zip(table.algorithms, cells, strict=True)]
    header = ["algorithm", *map(escaped, table.targets), "mean"]
    return _tabular(_caption(comparison, table, part), _label(table.dataset, table.setting, part.metric), header, rows)


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
    header = ["quantity", *map(escaped, algorithms)]
    return _tabular(caption, _label(diagnosis.dataset, "diagnostics"), header, rows)


def _correlation(found: RankCorrelation) -> str:
    shown = (f"${coefficient(value)}$" if value is not None else "--" for value in (found.rho, found.within))
    return "{} ({})".format(*shown)


def _tabular(caption: str, label: str, header: Sequence[str], rows: Sequence[str]) -> str:
    return "\n".join([
        "",
        r"\begin{table}[htbp]",
        r"\centering\small\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{label}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        rf"{' & '.join(header)} \\",
        r"\midrule",
        *(rf"{row} \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ])  # fmt: skip


def _column(column: Sequence[Cell | None]) -> list[str]:
    """A column's cells, the best bold and the second underlined, as they are printed."""
    return [
        _cell(cell, best, second)
        for cell, best, second in zip(column, highest(column), second_highest(column), strict=True)
    ]


def _cell(cell: Cell | None, best: bool, second: bool) -> str:
    if cell is None:
        return "--"
    number = rounded(cell.mean)
    number = rf"\textbf{{{number}}}" if best else rf"\underline{{{number}}}" if second else number
    error = "" if cell.error is None else rf" {{\scriptsize$\pm${rounded(cell.error)}}}"
    return number + error + (r"$^{*}$" if cell.provisional else "")


def _caption(comparison: Comparison, table: SettingTable, part: Section) -> str:
    warning = f"{ORACLE_WARNING} " if comparison.oracle else ""
    lines = [
        f"{warning}{table.dataset}, {table.setting}: {part.metric} accuracy on the unseen domain in %, mean and "
        "standard error over seeds.",
        *selection_lines(comparison),
    ]
    if part.means and len(part.mean_over) < len(table.targets):
        lines.append(f"The mean is over {', '.join(part.mean_over)}.")
    if any(cell.provisional for cell in part.cells.values()):
        lines.append("A star: one search trial, no final run has finished.")
    return escaped(" ".join(lines))


def _label(*names: str) -> str:
    """Of letters, digits and what LaTeX allows besides."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-.") else "-" for c in "-".join(names))
