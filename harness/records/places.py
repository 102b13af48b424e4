"""Where the files of sweeps lie."""

from pathlib import Path

DEFAULT_RESULTS = Path("results")
"""Where all results lie, unless --results says otherwise."""
SWEEP_FILE = "sweep.yaml"
"""In a sweep's folder: its config with every default and target written out."""
