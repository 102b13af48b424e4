"""An imbalance setting for people: what training would see of a data set for each target domain, as tables."""

from collections.abc import Iterable, Sequence
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from harness.terminal.table import Cell, Table
from ndcl.imbalance import Overview, imbalance_ratio
from ndcl.imbalance.shots import SHOT_GROUPS

MOST_ROWS = 24
"""Up to so many classes are all shown; of more, ENDS from each end."""
ENDS = 8
ALL = "all"
GROUP_STYLES = {"many": "green", "median": "yellow", "few": "red", "zero": "magenta"}


def summary_table(views: Sequence[Overview], title: str) -> Table:
    """One row for each target: all its source domains together."""
    table = _table(title)
    table.add_column("target", "name")
    for name in ("training", "ratio", "validation", "test"):
        table.add_column(name)
    for name in SHOT_GROUPS:
        table.add_column(name, style=GROUP_STYLES[name])
    for view in views:
        images = f"{view.totals.sum():,}", ratio_text(imbalance_ratio(view.totals)), f"{view.validation.sum():,}"
        table.add_row(view.target, *images, f"{view.num_test:,}", *map(str, view.group_sizes.values()))
    return table


def class_table(view: Overview) -> Table:
    """Training images of each class and source domain, the largest class first; of many classes the two ends.

    Below them the totals of each source domain.
    """
    table = _table(f"target {view.target}: training images of its source domains")
    table.add_column("rank", style="dim")
    table.add_column("class", "name")
    for name in (*view.sources, ALL):
        table.add_column(name)
    table.add_column("group", "text")
    num_classes = len(view.classes)
    ends = num_classes if num_classes <= MOST_ROWS else ENDS
    for rank, k in enumerate(view.order):
        if rank < ends or rank >= num_classes - ends:
            table.add_row(str(rank + 1), *_class_cells(view, int(k)), ends_section=rank == num_classes - 1)
        elif rank == ends:
            table.add_row("...", *_hidden_cells(view, view.order[ends : num_classes - ends]), style="dim")
    for cells, group in zip_longest(_totals(view), _sizes(view)):
        table.add_row("", *(cells or [""] * (len(view.sources) + 2)), group or "")
    return table


def thresholds_text(view: Overview) -> str:
    """What the groups and the ratio mean."""
    return (
        f"groups: many-shot above {view.many_above:g} training images (mean over source domains), few-shot below "
        f"{view.few_below:g}, zero-shot without any; ratio: largest over smallest class that has any"
    )


def ratio_text(ratio: float | None) -> str:
    """`65`, `12.5`, or `-`."""
    return "-" if ratio is None else f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def _table(title: str) -> Table:
    return Table(title=title, title_style="bold")


def _class_cells(view: Overview, k: int) -> Iterable[Cell]:
    group = SHOT_GROUPS[view.groups[k]]
    yield view.classes[k]
    yield from (f"{count:,}" for count in (*view.counts[:, k], view.totals[k]))
    yield group, GROUP_STYLES[group]


def _hidden_cells(view: Overview, hidden: NDArray[np.int64]) -> Iterable[str]:
    """One row for the classes in the middle: the range of each column."""
    yield f"{len(hidden)} classes"
    for column in (*view.counts[:, hidden], view.totals[hidden]):
        low, high = column.min(), column.max()
        yield f"{low:,}" if low == high else f"{low:,}-{high:,}"


def _totals(view: Overview) -> list[list[str]]:
    """Totals of each source domain and of all of them: images, ratio, classes absent, validation."""
    columns = [*view.counts, view.totals]
    rows = [
        ["images", *(f"{column.sum():,}" for column in columns)],
        ["ratio", *(ratio_text(imbalance_ratio(column)) for column in columns)],
        ["validation", *(f"{column.sum():,}" for column in (*view.validation, view.validation))],
    ]
    absent = [str(int((column == 0).sum())) for column in columns]
    return rows if view.counts.all() else [*rows, ["classes absent", *absent]]


def _sizes(view: Overview) -> list[Cell]:
    """`2 many`, for each group that has classes."""
    return [(f"{size} {name}", GROUP_STYLES[name]) for name, size in view.group_sizes.items() if size]
