"""Building blocks of the HTML report: text, tables, tabs without scripts, legends."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import count

from harness.report.analysis.cells import Cell
from harness.report.text.grid import EMPTY, Grid, Row, rounded, signed

NUM_COLOURS = 8
MINUS = "\N{MINUS SIGN}"


class Names:
    """Identifiers that are used once in a page."""

    def __init__(self) -> None:
        self._numbers = count()

    def new(self) -> str:
        """The next one."""
        return f"t{next(self._numbers)}"


def breakable(name: str) -> str:
    """A dotted key or a long name that may be broken at its dots and underscores."""
    return escape(name).replace(".", ".<wbr>").replace("_", "_<wbr>")


def section(identifier: str, title: str, *parts: str) -> str:
    """A part of the page that the navigation leads to."""
    return (
        f'<section aria-labelledby="{identifier}"><h2 id="{identifier}">{escape(title)}</h2>{"".join(parts)}</section>'
    )


def paragraph(words: str) -> str:
    """Plain text."""
    return f"<p>{escape(words)}</p>"


def notes(lines: Iterable[str]) -> str:
    """What must be known to read a table rightly."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="notes">{items}</ul>' if items else ""


def folded(title: str, content: str) -> str:
    """What is shown when it is asked for."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>" if content else ""


def tabs(names: Names, label: str, panels: Mapping[str, str]) -> str:
    """One of several panels at a time, chosen by radio buttons; a single one stands alone."""
    if len(panels) == 1:
        return "".join(panels.values())
    group, parts = names.new(), []
    for position, (title, content) in enumerate(panels.items()):
        own, checked = f"{group}-{position}", " checked" if position == 0 else ""
        parts.append(
            f'<input type="radio" name="{group}" id="{own}"{checked}><label for="{own}">{escape(title)}</label>'
            f'<div class="panel">{content}</div>'
        )
    return f'<div class="tabs" role="group" aria-label="{escape(label)}">{"".join(parts)}</div>'


def table(caption: str, header: Sequence[str], blocks: Iterable[Iterable[str]], kind: str = "") -> str:
    """A table that scrolls where it is too wide; `header` and rows are HTML, with the tags of their cells."""
    body = "".join(f"<tbody>{''.join(f'<tr>{row}</tr>' for row in block)}</tbody>" for block in blocks)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table class="{kind}">'
        f"<caption>{minus(escape(caption))}</caption><thead><tr>{''.join(header)}</tr></thead>{body}</table></div>"
    )


def head(name: str, kind: str = "") -> str:
    """A column's head."""
    return f'<th scope="col"{_class(kind)}>{breakable(name)}</th>'


def row_head(name: str) -> str:
    """A row's head."""
    return f'<th scope="row">{breakable(name)}</th>'


def cell(content: str, kind: str = "", *, bold: bool = False) -> str:
    """A plain cell, of text."""
    shown = minus(escape(content))
    return f"<td{_class(kind)}>{f'<strong>{shown}</strong>' if bold else shown}</td>"


def accuracy(value: Cell | None, kind: str = "") -> str:
    """A mean with its standard error in percent."""
    return f"<td{_class(kind)}>{EMPTY if value is None else _number(rounded(value.mean), value)}</td>"


def difference(value: Cell | None, kind: str = "") -> str:
    """A mean difference with its standard error in percentage points."""
    return f"<td{_class(kind)}>{EMPTY if value is None else _number(signed(value.mean), value)}</td>"


def minus(words: str) -> str:
    """Negative numbers with a minus sign, which is as wide as a plus."""
    return re.sub(r"(?<!\w)-(?=\d)", MINUS, words)


def legend(algorithms: Sequence[str]) -> str:
    """Which colour is which algorithm."""
    items = "".join(
        f'<li><svg class="swatch {colour(position)}" viewBox="0 0 24 10" aria-hidden="true">'
        f'<path class="line{dash(position)}" d="M0 5H24"/></svg> {escape(name)}</li>'
        for position, name in enumerate(algorithms)
    )
    return f'<ul class="legend">{items}</ul>'


def colour(position: int) -> str:
    """The class that gives the algorithm at this position its colour."""
    return f"s{position % NUM_COLOURS}"


def dash(position: int) -> str:
    """Lines whose colour is used a second time, and every other one, are dashed: not colour alone tells them apart."""
    return " dashed" if position % 2 else ""


def grid_table(grid: Grid) -> str:
    """A grid as the other outputs print it, with its notes."""
    header = [head(name, "left" if position < grid.num_labels else "") for position, name in enumerate(grid.header)]
    blocks = [[*heading_row(heading, len(header)), *map(_grid_row, block)] for heading, block in grid.headed_blocks]
    return table(grid.title, header, blocks) + notes(grid.notes)


def heading_row(heading: str, num_columns: int) -> list[str]:
    """What the rows below have in common; nothing where nothing is said."""
    return [f'<th scope="rowgroup" class="family" colspan="{num_columns}">{escape(heading)}</th>'] if heading else []


def _grid_row(row: Row) -> str:
    first, *others = row.labels
    labels = row_head(first) + "".join(f'<th scope="row" class="left">{breakable(name)}</th>' for name in others)
    return labels + "".join(cell(value, bold=bold) for value, bold in zip(row.cells, row.bold, strict=True))


def _number(shown: str, value: Cell) -> str:
    error = "" if value.error is None else f"±{rounded(value.error)}"
    star = "*" if value.provisional else ""
    return f'<span class="number">{minus(shown)}</span> <span class="error">{error}{star}</span>'


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
