"""An imbalance setting for people: what training would see of a data set for each target domain, as tables."""

from collections.abc import Iterable, Sequence
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.markup import escape
from rich.table import Table

from ndcl.evaluation import SHOT_GROUPS
from ndcl.imbalance import Overview, imbalance_ratio

MOST_ROWS = 24
"""Up to so many classes are all shown; of more, ENDS from each end."""
ENDS = 8
ALL = "all"
GROUP_STYLES = {"many": "green", "median": "yellow", "few": "red", "zero": "magenta"}


def summary_table(views: Sequence[Overview], title: str) -> Table:
    """One row for each target: all its source domains together."""
    table = _table(title)
    table.add_column("target", no_wrap=True)
    for name in ("training", "ratio", "validation", "test"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in SHOT_GROUPS:
        table.add_column(name, justify="right", style=GROUP_STYLES[name], no_wrap=True)
    for view in views:
        images = f"{view.totals.sum():,}", ratio_text(imbalance_ratio(view.totals)), f"{view.validation.sum():,}"
        table.add_row(escape(view.target), *images, f"{view.num_test:,}", *map(str, view.group_sizes.values()))
    return table


def class_table(view: Overview) -> Table:
    """Training images of each class and source domain, the largest class first; of many classes the two ends.

    Below them what each source domain comes to.
    """
    table = _table(f"target {view.target}: training images of its source domains")
    table.add_column("rank", justify="right", style="dim", no_wrap=True)
    table.add_column(
        "class", overflow="ellipsis", min_width=14, max_width=24
    )  # the only one to give way on a narrow terminal
    for name in (*map(escape, view.sources), ALL):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("group", no_wrap=True)
    num_classes = len(view.classes)
    ends = num_classes if num_classes <= MOST_ROWS else ENDS
    for rank, k in enumerate(view.order):
        if rank < ends or rank >= num_classes - ends:
            table.add_row(str(rank + 1), *_class_cells(view, int(k)))
        elif rank == ends:
            table.add_row("...", *_hidden_cells(view, view.order[ends : num_classes - ends]), style="dim")
    table.add_section()
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
    return Table(title=escape(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1))


def _class_cells(view: Overview, k: int) -> Iterable[str]:
    group = SHOT_GROUPS[view.groups[k]]
    yield escape(view.classes[k])
    yield from (f"{count:,}" for count in (*view.counts[:, k], view.totals[k]))
    yield f"[{GROUP_STYLES[group]}]{group}[/]"


def _hidden_cells(view: Overview, hidden: NDArray[np.int64]) -> Iterable[str]:
    """One row for the classes in the middle: the range of each column."""
    yield f"{len(hidden)} classes"
    for column in (*view.counts[:, hidden], view.totals[hidden]):
        low, high = column.min(), column.max()
        yield f"{low:,}" if low == high else f"{low:,}-{high:,}"


def _totals(view: Overview) -> list[list[str]]:
    """What each source domain and all of them come to: images, ratio, classes absent, validation."""
    columns = [*view.counts, view.totals]
    rows = [
        ["images", *(f"{column.sum():,}" for column in columns)],
        ["ratio", *(ratio_text(imbalance_ratio(column)) for column in columns)],
        ["validation", *(f"{column.sum():,}" for column in (*view.validation, view.validation))],
    ]
    absent = [str(int((column == 0).sum())) for column in columns]
    return rows if view.counts.all() else [*rows, ["classes absent", *absent]]


def _sizes(view: Overview) -> list[str]:
    """`2 many`, for each group that has classes."""
    return [f"[{GROUP_STYLES[name]}]{size} {name}[/]" for name, size in view.group_sizes.items() if size]
