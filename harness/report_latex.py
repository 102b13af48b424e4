"""The comparison as LaTeX: a document that compiles, of tables that can be copied into a paper one by one."""

from collections.abc import Sequence

from harness.report import NOTHING, selection_lines
from harness.report_cells import Cell
from harness.report_comparison import ORACLE_WARNING, Comparison
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


def to_latex(comparison: Comparison) -> str:
    """A table for each setting and metric that has a value: rows algorithms, columns target domains and their mean."""
    tables = [_table(comparison, table, part) for table in comparison.tables for part in table.sections if part.cells]
    return PREAMBLE + "\n".join(tables or [NOTHING]) + "\n\\end{document}\n"


def escaped(text: str) -> str:
    """As it is read, where LaTeX is written."""
    return "".join(SPECIAL.get(character, character) for character in text)


def _table(comparison: Comparison, table: SettingTable, part: Section) -> str:
    columns = [[part.cells.get((name, target)) for name in table.algorithms] for target in table.targets]
    columns.append([part.means.get(name) for name in table.algorithms])
    cells = list(zip(*map(_column, columns), strict=True))
    rows = [" & ".join([escaped(name), *row]) for name, row in zip(table.algorithms, cells, strict=True)]
    header = " & ".join(["algorithm", *map(escaped, table.targets), "mean"])
    return "\n".join([
        "",
        r"\begin{table}[htbp]",
        r"\centering\small\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{_caption(comparison, table, part)}}}",
        rf"\label{{tab:{_label(table, part)}}}",
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        rf"{header} \\",
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


def _label(table: SettingTable, part: Section) -> str:
    """Of letters, digits and what LaTeX allows besides."""
    name = f"{table.dataset}-{table.setting}-{part.metric}"
    return "".join(c if c.isascii() and (c.isalnum() or c in "-.") else "-" for c in name)
