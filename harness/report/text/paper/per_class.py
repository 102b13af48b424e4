"""Accuracy class by class: rows classes, the most frequent first, columns a few algorithms."""

from collections.abc import Sequence

from harness.report.analysis.cells import HEADLINE_METRIC
from harness.report.analysis.comparison import Comparison
from harness.report.analysis.details import Details
from harness.report.analysis.per_class import PerClass
from harness.report.analysis.setting_table import SettingTable
from harness.report.text.display_names import display_names, setting_title
from harness.report.text.latex_tables import MISSING, column, escaped, label, tabular
from harness.report.text.paper.results import PREVIEW, PREVIEW_NOTE, section_of, warning

MOST_SHOWN = 6
"""Algorithms side by side: of more the reference and the best."""


def per_class(comparison: Comparison, details: Details) -> str:
    """A table for each setting whose trainings have accuracies by class."""
    parts = []
    for table in comparison.tables:
        found = details.per_class(table)
        if found:
            parts.append(_table(comparison, table, found))
    return "\n".join(parts)


def _table(comparison: Comparison, table: SettingTable, found: dict[str, PerClass]) -> str:
    names, shown = display_names(comparison.methods), _shown(table, list(found))
    first = found[shown[0]]
    order = _order(first)
    by_class = [column([found[name].cells[k] for name in shown], PREVIEW) for k in order]
    rows = [
        " & ".join([escaped(first.classes[k]), *_images(first, k), *cells])
        for k, cells in zip(order, by_class, strict=True)
    ]
    images = ["images"] if first.training_images else []
    header = " & ".join(["class", *images, *(escaped(names[name]) for name in shown)])
    own = label("per-class", table.dataset, table.setting)
    return tabular(_caption(comparison, table, found, shown), own, [header], [rows])


def _shown(table: SettingTable, present: Sequence[str]) -> list[str]:
    """The first, which is the reference where it is there, and the others with the highest means."""
    if len(present) <= MOST_SHOWN:
        return list(present)
    means = section_of(table, HEADLINE_METRIC).means
    best = sorted(present[1:], key=lambda name: -means[name].mean)[: MOST_SHOWN - 1]
    return [present[0], *(name for name in present if name in best)]


def _order(found: PerClass) -> list[int]:
    """Classes by their training images, the most frequent first; as they are numbered where these are not known."""
    images = found.training_images or (0.0,) * len(found.classes)
    return sorted(range(len(found.classes)), key=lambda k: (-images[k], k))


def _images(found: PerClass, k: int) -> list[str]:
    return [f"{found.training_images[k]:,.0f}"] if found.training_images else []


def _caption(comparison: Comparison, table: SettingTable, found: dict[str, PerClass], shown: Sequence[str]) -> str:
    place = f"{table.dataset}, {setting_title(table.setting, table.imbalance)}"
    number = len(section_of(table, HEADLINE_METRIC).mean_over)
    lines = [
        f"{place}: accuracy by class in %, mean over {number} unseen domain{'s' * (number > 1)} and its standard error "
        "over seeds; best bold, second underlined."
    ]
    if found[shown[0]].training_images:
        lines.append("images: for training, of all source domains together, mean over the unseen domains.")
    if len(shown) < len(found):
        lines.append(f"Of {len(found)} algorithms the reference and the {MOST_SHOWN - 1} with the highest mean.")
    if any(not cells for each in found.values() for cells in each.cells):
        lines.append(f"{MISSING}: no test images.")
    caption = [*warning(comparison), *map(escaped, lines)]
    if any(cell and cell.provisional for name in shown for cell in found[name].cells):
        caption.append(PREVIEW_NOTE)
    return " ".join(caption)
