"""What a paper's appendix says: accuracy by unseen domain, chosen values, search space, protocol."""

from collections.abc import Mapping, Sequence

from harness.report.analysis.cells import HEADLINE_METRIC
from harness.report.analysis.comparison import Comparison
from harness.report.analysis.details import Details
from harness.report.analysis.protocol import Protocol
from harness.report.analysis.setting_table import SettingTable
from harness.report.text.accuracy_grids import condition_notes
from harness.report.text.display_names import display_names, setting_title
from harness.report.text.latex_tables import breakable, column, escaped, family_blocks, label, tabular
from harness.report.text.paper.chosen_values import chosen_values, search_space
from harness.report.text.paper.results import PREVIEW, PREVIEW_NOTE, section_of, warning


def appendix(comparison: Comparison, details: Details, protocol: Protocol) -> str:
    """Its sections, those that there is something to say in."""
    sections = {
        "Accuracy by unseen domain": "\n".join(_domains(comparison, table) for table in comparison.tables),
        "Chosen values": chosen_values(comparison, details),
        "Search space": search_space(comparison, protocol),
        "Protocol": _notes(comparison) + _protocol(comparison, details, protocol),
    }
    shown = [f"\\section{{{title}}}\n{content}" for title, content in sections.items() if content]
    return "\n\\clearpage\n".join(shown)


def _domains(comparison: Comparison, table: SettingTable) -> str:
    names, section = display_names(comparison.methods), section_of(table, HEADLINE_METRIC)
    columns = [[section.cells.get((name, target)) for name in table.algorithms] for target in table.targets]
    columns.append([section.means.get(name) for name in table.algorithms])
    cells = zip(*(column(each, PREVIEW) for each in columns), strict=True)
    lines = {
        name: [" & ".join([escaped(names[name]), *row])] for name, row in zip(table.algorithms, cells, strict=True)
    }
    blocks = family_blocks(lines, table.families, len(columns) + 1)
    place = f"{table.dataset}, {setting_title(table.setting, table.imbalance)}"
    caption = [
        *warning(comparison),
        escaped(
            f"{place}: {HEADLINE_METRIC} accuracy on each unseen domain in %, mean and standard error over seeds; best "
            "bold, second underlined."
        ),
    ]
    if any(cell.provisional for cell in section.cells.values()):
        caption.append(PREVIEW_NOTE)
    header = " & ".join(["algorithm", *map(escaped, table.targets), "mean"])
    return tabular(" ".join(caption), label("domains", table.dataset, table.setting), [header], blocks)


def _protocol(comparison: Comparison, details: Details, protocol: Protocol) -> str:
    """Two columns: what, and its value; where it differs between studies or trainings, all of them."""
    kinds = r"l>{\raggedright\arraybackslash}p{0.62\textwidth}"
    blocks = [_facts(part) for part in (protocol.plan, protocol.versions, protocol.hardware, _spent(details))]
    caption = " ".join([*warning(comparison), "How the numbers were made."])
    return tabular(caption, "protocol", ["what & value"], blocks, kinds) if any(blocks) else ""


def _facts(values: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"{escaped(name)} & {'; '.join(map(breakable, own))}" for name, own in values.items()]


def _spent(details: Details) -> dict[str, list[str]]:
    cost = details.cost
    hours = {"CPU-hours": cost.cpu_hours, "GPU-hours": cost.gpu_hours}
    return {
        "search trials": [str(cost.num_ended)],
        "final runs": [str(cost.num_final.get("finished", 0))],
        "optimiser steps of all": [f"{cost.num_steps:,}"],
        **{name: [f"{value:.2f}"] for name, value in hours.items() if value},
    }


def _notes(comparison: Comparison) -> str:
    """Unfinished studies, unequal budgets, failures and chance, which no table should be printed without."""
    lines = [
        f"{table.dataset}, {setting_title(table.setting, table.imbalance)}: {line}"
        for table in comparison.tables
        for line in condition_notes(table)
    ]
    items = "\n".join(rf"\item {escaped(line)}" for line in lines)
    return f"\\begin{{itemize}}\n{items}\n\\end{{itemize}}" if lines else ""
