"""Tables that fit: as wide as their content, and on a narrow terminal with shorter names or in parts, never cut."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table as RichTable
from rich.text import Text

from harness.terminal.legible import legible
from harness.terminal.shortening import cells_of, shortened
from harness.terminal.terminal import words

Kind = Literal["name", "text", "number"]
"""`name` may be shortened; `text` stays whole; `number` stays whole, on the right; its head may be shortened."""
Cell = str | tuple[str, str]
"""A cell's text, or text and style."""
FEWEST_OF_NAME, FEWEST_OF_HEAD = 12, 4
"""Cells that a name, and the head of a number, have at the least."""

WORTH_MORE = 12
"""So many cells more than the head of a number may a name have, before it gives way."""


@dataclass(frozen=True, kw_only=True)
class _Column:
    name: str
    kind: Kind
    style: str


@dataclass(frozen=True, kw_only=True)
class _Row:
    cells: tuple[Cell, ...]
    style: str
    ends_section: bool


@dataclass(kw_only=True)
class Table:
    """A table for a console, printed by `console.print`."""

    title: str = ""
    title_style: str = ""
    _columns: list[_Column] = field(default_factory=list)
    _rows: list[_Row] = field(default_factory=list)

    def add_column(self, name: str, kind: Kind = "number", style: str = "") -> None:
        """Add a column."""
        self._columns.append(_Column(name=name, kind=kind, style=style))

    def add_row(self, *cells: Cell, style: str = "", ends_section: bool = False) -> None:
        """Add a row, whose last cells may be left out, with a line below it if it ends a section."""
        missing = len(self._columns) - len(cells)
        assert missing >= 0
        self._rows.append(_Row(cells=(*cells, *[""] * missing), style=style, ends_section=ends_section))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What rich prints, in `options.max_width` columns."""
        texts = self._texts(console.encoding)
        widths = [max(map(cells_of, column)) for column in texts]
        if self.title:
            yield words(self.title, self.title_style)
        loose = sum(widths) + _between(len(widths), loose=True) <= options.max_width
        for part in [range(len(widths))] if loose else self._parts(texts, options.max_width):
            columns = [texts[c] for c in part]
            fitted = _fitted(columns, [self._columns[c].kind for c in part], options.max_width, loose)
            shown = _shown(columns, fitted, console.encoding)
            yield from console.render(self._rich(part, shown, loose), options.update(width=10 * options.max_width))

    def _texts(self, encoding: str) -> list[list[str]]:
        """By column: its head, and its cells."""
        heads = [column.name for column in self._columns]
        rows = [[cell if isinstance(cell, str) else cell[0] for cell in row.cells] for row in self._rows]
        return [[legible(text, encoding) for text in column] for column in zip(heads, *rows, strict=True)]

    def _parts(self, texts: Sequence[Sequence[str]], max_width: int) -> list[list[int]]:
        """Columns that stand side by side, each time beside those that name the rows."""
        least = [_least(column, self._columns[c].kind) for c, column in enumerate(texts)]
        names = [c for c, column in enumerate(self._columns) if column.kind == "name"]
        labels = list(range(names[-1] + 1)) if names else []
        parts = [list(labels)]
        for c in range(len(labels), len(texts)):
            part = [*parts[-1], c]
            is_first = parts[-1] == labels
            if not is_first and sum(least[i] for i in part) + _between(len(part), loose=False) > max_width:
                part = [*labels, c]
                parts.append(part)
            parts[-1] = part
        return parts

    def _rich(self, part: Sequence[int], shown: Sequence[Sequence[str]], loose: bool) -> RichTable:
        table = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1) if loose else 0, show_edge=loose, pad_edge=loose)
        for c, column in zip(part, shown, strict=True):
            justify: Literal["left", "right"] = "right" if self._columns[c].kind == "number" else "left"
            table.add_column(Text(column[0]), justify=justify, style=self._columns[c].style, no_wrap=True)
        for r, row in enumerate(self._rows):
            styles = ["" if isinstance(row.cells[c], str) else row.cells[c][1] for c in part]
            cells = [Text(column[r + 1], style=style) for column, style in zip(shown, styles, strict=True)]
            table.add_row(*cells, style=row.style or None, end_section=row.ends_section)
        return table


def _between(num_columns: int, *, loose: bool) -> int:
    """Cells beside and between columns."""
    return 3 * num_columns + 1 if loose else num_columns - 1


def _least(column: Sequence[str], kind: Kind) -> int:
    """Cells that a column needs at the least."""
    content, head = max(map(cells_of, column[1:]), default=0), cells_of(column[0])
    if kind == "text":
        return max(content, head)
    return min(max(content, head), FEWEST_OF_NAME) if kind == "name" else max(content, min(head, FEWEST_OF_HEAD))


def _fitted(texts: Sequence[Sequence[str]], kinds: Sequence[Kind], max_width: int, loose: bool) -> list[int]:
    """Each column's width: the widest that can give way does, until all fit."""
    widths = [max(map(cells_of, column)) for column in texts]
    least = [_least(column, kind) for column, kind in zip(texts, kinds, strict=True)]
    while sum(widths) + _between(len(widths), loose=loose) > max_width:
        free = [c for c, width in enumerate(widths) if width > least[c]]
        if not free:
            break
        widths[max(free, key=lambda c: widths[c] - (WORTH_MORE if kinds[c] == "name" else 0))] -= 1
    return widths


def _shown(columns: Sequence[Sequence[str]], widths: Sequence[int], encoding: str) -> list[list[str]]:
    """Columns in their widths: heads stay distinct, and so do the cells of each column."""
    mark = legible("…", encoding)
    heads = shortened([column[0] for column in columns], widths, mark)
    cells = [
        shortened(column[1:], [width] * len(column[1:]), mark) for column, width in zip(columns, widths, strict=True)
    ]
    return [[head, *column] for head, column in zip(heads, cells, strict=True)]
