"""The file sweep.yaml in a sweep's folder: what was planned, with all defaults and names written out."""

from pathlib import Path
from typing import Any

from harness.records.places import SWEEP_FILE
from harness.records.sweep_files import mapping_of, unreadable

DAMAGED = "take it from a copy, or delete it and start the sweep by its YAML file as before, which writes it anew"


def recorded_values(folder: Path) -> dict[str, Any] | None:
    """The resolved sweep in `folder`, or None if there is none. Raises UserError if its file is damaged."""
    path = folder / SWEEP_FILE
    if not path.exists():
        return None
    values = mapping_of(path, DAMAGED)
    if "name" not in values:
        raise unreadable(path, "it names no sweep", DAMAGED)
    return values


def configured_uri(folder: Path) -> str | None:
    """The `tracking.uri` of the sweep in `folder`, or None. Raises UserError if its file is damaged."""
    tracking = (recorded_values(folder) or {}).get("tracking")
    return tracking.get("uri") if isinstance(tracking, dict) else None
