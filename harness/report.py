"""The result of a sweep for people: the comparison of algorithms in a terminal and as Markdown."""

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness import report_layout as layout
from harness.report_comparison import Comparison, SettingTable, compare

__all__ = ["Comparison", "compare", "to_console", "to_markdown"]

NOTHING = "No trial has finished yet."


def to_console(comparison: Comparison) -> RenderableType:
    """The tables for a rich console; four target domains fit into 100 columns, with more the errors wrap."""
    if not comparison.tables:
        return Text(NOTHING)
    parts: list[RenderableType] = []
    for table in comparison.tables:
        parts += [_console_table(table), *(Text(note, style="dim") for note in layout.notes(table)), Text()]
    return Group(*parts[:-1])


def to_markdown(comparison: Comparison) -> str:
    """The same tables as Markdown."""
    if not comparison.tables:
        return f"{NOTHING}\n"
    return "\n".join(_markdown_table(table) for table in comparison.tables)


def _console_table(table: SettingTable) -> Table:
    shown = Table(title=layout.title(table), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for position, name in enumerate(layout.header(table)):
        shown.add_column(name, justify="left" if position < 2 else "right", no_wrap=position < 2, overflow="fold")
    for block in layout.blocks(table):
        for row in block:
            shown.add_row(row.metric, row.label, *map(_styled, row.cells, row.best), end_section=row is block[-1])
    return shown


def _styled(cell: str, best: bool) -> Text:
    return Text(cell, style="bold" if best else "")


def _markdown_table(table: SettingTable) -> str:
    header = layout.header(table)
    rows = [row for block in layout.blocks(table) for row in block]
    lines = [f"### {layout.title(table)}", "", _markdown_row(header)]
    lines.append(_markdown_row(["---", "---", *(["---:"] * (len(header) - 2))]))
    for row in rows:
        cells = map(_emphasised, row.cells, row.best)
        lines.append(_markdown_row([row.metric, row.label, *cells]))
    remarks = [f"- {_emphasised(note, False)}" for note in layout.notes(table)]
    return "\n".join([*lines, "", *remarks, ""])


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _emphasised(text: str, best: bool) -> str:
    text = text.replace("*", r"\*")  # a literal star, not formatting
    return f"**{text}**" if best else text
