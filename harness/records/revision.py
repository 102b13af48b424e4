"""The revision of this code."""

import subprocess
from pathlib import Path

DIRTY = "-dirty"


def git_revision() -> str | None:
    """The revision of this code, with `-dirty` if it has been changed since; None outside a git checkout."""
    command = ["git", "describe", "--always", f"--dirty={DIRTY}", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
