"""Sweeps as the commands are given them: by name, or by YAML file."""

from pathlib import Path
from typing import TYPE_CHECKING

from ndcl.errors import UserError

if TYPE_CHECKING:
    from harness.records import TrialRecord


def sweep_name(name: str) -> str:
    """The name of a sweep that is given by its name or its YAML file."""
    if not name.endswith((".yaml", ".yml")):
        return name
    from harness.config import load_sweep

    return load_sweep(Path(name)).name


def recorded_sweep(name: str, results: Path) -> "tuple[Path, list[TrialRecord]]":
    """The folder and the records of a sweep. Raises UserError if there are none."""
    from harness.records import Journal

    name = sweep_name(name)
    records = Journal(results / name).read()
    if not records:
        raise UserError(f"there is no sweep '{name}' in {results}; run it first with: ndcl sweep, or give --results")
    return results / name, records
