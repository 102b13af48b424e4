"""Bars of progress, on a terminal only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from harness.terminal.legible import legible
from harness.terminal.terminal import Console

Kind = Literal["items", "bytes", "unknown number"]


@contextmanager
def progress_bar(
    console: Console, what: str, *, kind: Kind = "items", quiet: bool = False
) -> Iterator[Callable[[int, int | None], None]]:
    """A bar while the block runs; yields a function that takes the work done and its total."""
    shown = not quiet and console.is_terminal
    with Progress(*_columns(kind), console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task(legible(what), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _columns(kind: Kind) -> list[ProgressColumn]:
    what = TextColumn("{task.description}", markup=False)
    if kind == "unknown number":
        return [SpinnerColumn(), TextColumn("{task.completed}"), what, TimeElapsedColumn()]
    size = [DownloadColumn(), TransferSpeedColumn()] if kind == "bytes" else [MofNCompleteColumn()]
    return [what, BarColumn(), *size, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()]
