"""The terminal: the one way by which commands print, so that names of every kind come out as they are.

Nothing is markup. What a terminal would obey, or the encoding lacks, is shown as an escape. Off a terminal nothing is
wrapped or cut.
"""

import sys

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from harness.terminal.legible import legible

__all__ = ["Console", "Live", "RenderableType", "console_of", "redrawn", "stacked", "words"]

OFF_TERMINAL_WIDTH = 10_000
"""Columns of a file or a pipe: no line is so long that it would be wrapped or cut."""


class _Console(Console):
    """Leaves a pipe that nobody reads any more to the command."""

    def on_broken_pipe(self) -> None:
        raise


def console_of(*, error: bool = False, quiet: bool = False) -> Console:
    """A console for tables, bars and what is redrawn, on stdout or stderr; `quiet`: it shows nothing."""
    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() else OFF_TERMINAL_WIDTH
    return _Console(file=stream, width=width, quiet=quiet, markup=False, emoji=False, highlight=False)


def words(text: str, style: str = "") -> Text:
    """Lines of text for a console, broken between words where they are too long for a terminal."""
    return Text("\n".join(map(legible, text.split("\n"))), style=style)


def stacked(*parts: RenderableType) -> Group:
    """Several things for a console, one below the other."""
    return Group(*parts)


def redrawn(console: Console, first: RenderableType = "", *, transient: bool = False) -> Live:
    """A view that is drawn again by `update`; a `transient` one leaves nothing behind."""
    return Live(first, console=console, auto_refresh=False, transient=transient)
