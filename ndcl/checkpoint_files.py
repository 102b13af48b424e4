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


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
