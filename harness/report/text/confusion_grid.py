"""Which classes of the unseen domains are taken for which, in numbers."""

from collections.abc import Iterator

from harness.report.analysis.confusion import Confusion
from harness.report.analysis.details import Details
from harness.report.analysis.setting_table import SettingTable
from harness.report.text.grid import Grid, Row

MOST_CLASSES = 12
"""Of more a table would be wider than a page; report.json has them."""


def confusion_grids(table: SettingTable, details: Details) -> Iterator[Grid]:
    """One for each algorithm that has final runs: all unseen domains together."""
    for algorithm, found in details.confusions(table.dataset, table.setting, table.algorithms).items():
        if len(found.classes) <= MOST_CLASSES:
            yield _grid(f"{table.dataset}, {table.setting}: confusions of {algorithm}", found)


def _grid(title: str, found: Confusion) -> Grid:
    rows = tuple(
        Row(labels=(name,), cells=tuple(map(str, counts)), bold=tuple(j == k for j in range(len(counts))))
        for k, (name, counts) in enumerate(zip(found.classes, found.counts, strict=True))
    )
    return Grid(
        title=title,
        header=("class, taken for", *found.classes),
        blocks=(rows,),
        notes=("Test images of all unseen domains and final runs together; the diagonal, which is right, is bold.",),
    )
