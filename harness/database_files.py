"""Database files that appear whole or not at all.

Optuna and MLflow set their tables up in many steps; a process that is killed between two of them leaves a file that
MLflow can never open again.
"""

from collections.abc import Callable
from pathlib import Path


def make_whole(path: Path, make: Callable[[Path], None]) -> None:
    """If there is no `path`, have `make` build it elsewhere, and then put it there. For one process at a time."""
    if path.exists():
        return
    partial = path.with_suffix(".partial")
    for leftover in path.parent.glob(f"{partial.name}*"):  # with the journal that sqlite keeps beside it
        leftover.unlink()
    make(partial)
    partial.replace(path)
