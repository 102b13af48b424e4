"""Variants of one algorithm side by side."""

from collections.abc import Sequence

from harness.report.analysis.ablations import Ablation, variant_contrasts
from harness.report.analysis.cells import HEADLINE_METRIC
from harness.report.analysis.comparison import Comparison
from harness.report.analysis.setting_table import SettingTable
from harness.report.text.display_names import display_names, setting_title
from harness.report.text.latex_tables import escaped, label, tabular
from harness.report.text.paper.chosen_values import shown_key, shown_value
from harness.report.text.paper.results import (
    MOST_SETTINGS,
    PREVIEW_NOTE,
    Column,
    difference_note,
    of_datasets,
    results_table,
    section_of,
    warning,
)


def ablations(comparison: Comparison, found: Sequence[Ablation]) -> str:
    """For each algorithm with variants what each changes, and a table for each data set."""
    parts = []
    for ablation in found:
        if any(ablation.changes.values()):
            parts.append(_changes(comparison, ablation))
        for dataset, tables in of_datasets(comparison).items():
            shown = [_column(table, ablation) for table in tables]
            for start in range(0, len(shown), MOST_SETTINGS):
                group = [each for each in shown[start : start + MOST_SETTINGS] if len(each.means) > 1]
                if group:
                    number = start // MOST_SETTINGS + 1 if len(shown) > MOST_SETTINGS else 0
                    parts.append(_table(comparison, ablation, dataset, group, number))
    return "\n".join(parts)


def _column(table: SettingTable, ablation: Ablation) -> Column:
    section = section_of(table, HEADLINE_METRIC)
    return Column(
        title=setting_title(table.setting, table.imbalance),
        means={name: section.means[name] for name in ablation.variants if name in section.means},
        contrasts=variant_contrasts(section, ablation),
        ranks=None,
    )


def _table(comparison: Comparison, ablation: Ablation, dataset: str, group: Sequence[Column], number: int) -> str:
    names = display_names(comparison.methods)
    rows = {name: names[name] for name in ablation.variants if any(name in each.means for each in group)}
    first = names[ablation.variants[0]]
    part = f" ({number})" if number else ""
    caption = [
        *warning(comparison),
        escaped(
            f"{dataset}{part}: variants of {first}, {HEADLINE_METRIC} accuracy in %, mean over unseen domains and its "
            "standard error over seeds; best bold, second underlined."
        ),
        difference_note(first),
    ]
    if any(cell.provisional for each in group for cell in each.means.values()):
        caption.append(PREVIEW_NOTE)
    own = label("ablation", ablation.method, dataset, *([str(number)] if number else []))
    return results_table(" ".join(caption), own, rows, group, {})


def _changes(comparison: Comparison, ablation: Ablation) -> str:
    """Rows the values in which variants differ, columns variants."""
    names = display_names(comparison.methods)
    keys = dict.fromkeys(key for own in ablation.changes.values() for key in own)
    rows = [
        " & ".join([shown_key(key), *(shown_value(own[key]) if key in own else "" for own in _ordered(ablation))])
        for key in keys
    ]
    header = " & ".join(["value", *(escaped(names[name]) for name in ablation.variants)])
    caption = " ".join([*warning(comparison), escaped(f"Variants of {names[ablation.variants[0]]}: what they change.")])
    return tabular(caption, label("variants", ablation.method), [header], [rows])


def _ordered(ablation: Ablation) -> list[dict[str, object]]:
    return [dict(ablation.changes[name]) for name in ablation.variants]
