"""The files of a paper: tables that can be \\input one by one, and a document that has them all."""

from collections.abc import Sequence

from harness.plan import StudyPlan
from harness.records import TrialRecord
from harness.report.analysis.ablations import ablations_of
from harness.report.analysis.comparison import Comparison
from harness.report.analysis.details import Details
from harness.report.analysis.protocol import protocol_of
from harness.report.text.grid import nothing
from harness.report.text.latex_tables import PACKAGES, declarations, escaped
from harness.report.text.paper.ablations import ablations
from harness.report.text.paper.appendix import appendix
from harness.report.text.paper.per_class import per_class
from harness.report.text.paper.results import results

FOLDER = "paper"
DOCUMENT = r"""% Written by ndcl report --paper. Run pdflatex on it twice, for the widths of columns.
\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage[margin=2cm]{geometry}
\input{preamble}
\begin{document}
"""


def paper_files(
    comparison: Comparison, details: Details, records: Sequence[TrialRecord], plan: Sequence[StudyPlan]
) -> dict[str, str]:
    """By file name: `paper.tex`, what it inputs, and `preamble.tex`, which a paper of one's own inputs, too."""
    bodies = {
        "results": results(comparison),
        "per_class": per_class(comparison, details),
        "ablations": ablations(comparison, ablations_of(comparison, plan)),
        "appendix": appendix(comparison, details, protocol_of(records, plan)) if comparison.tables else "",
    }
    bodies = {name: body for name, body in bodies.items() if body}
    inputs = [(r"\appendix" + "\n" if name == "appendix" else "") + rf"\input{{{name}}}" for name in bodies]
    content = "\n\\clearpage\n".join(inputs) or escaped(nothing(comparison))
    return {
        "paper.tex": f"{DOCUMENT}{content}\n\\end{{document}}\n",
        "preamble.tex": _preamble("".join(bodies.values())),
        **{
            f"{name}.tex": f"% Needs \\input{{preamble}} before \\begin{{document}}.\n{b}\n"
            for name, b in bodies.items()
        },
    }


def _preamble(body: str) -> str:
    return f"% What the tables of ndcl report --paper need.\n\\usepackage{{{','.join(PACKAGES)}}}\n{declarations(body)}"
