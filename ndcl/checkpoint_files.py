"""The files of a checkpoint, for those who look for one without loading torch."""

import hashlib
import json
from pathlib import Path

STATE, MANIFEST = "state.pt", "checkpoint.json"


def is_checkpoint(folder: Path) -> bool:
    """Whether `folder` holds a whole, undamaged checkpoint."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if "parts" in manifest:
            return all(is_checkpoint(folder / part) for part in manifest["parts"])
        return bool(manifest["sha256"] == digest_of(folder / STATE))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def step_of(folder: Path) -> int:
    """The step in the name of a checkpoint's folder."""
    return int(folder.name.removeprefix("step-"))


def damaged_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a training below `folder` that are not whole, the oldest first."""
    return [path for path in sorted(folder.glob("step-*")) if not is_checkpoint(path)]


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
