"""The MLflow store of a results folder that was moved: it has written down, in full, where its artifacts lie."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from harness.config.tracking_uri import STORE_FILE, artifact_folder

PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and columns of MLflow's that hold such places; MLflow itself offers no way to change them."""
LOCK_TIMEOUT_SECONDS = 60


def follow_move(results: Path) -> None:
    """Have the store of a results folder name artifacts where they lie now, if they lay elsewhere before."""
    with (
        suppress(sqlite3.DatabaseError),  # MLflow, which opens it next, tells of a damaged one
        closing(sqlite3.connect(results / STORE_FILE, timeout=LOCK_TIMEOUT_SECONDS)) as database,
        database,
    ):
        here = artifact_folder(results).as_uri()
        for before in _folders(database) - {here}:
            for table, column in PLACES:
                database.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                    (here, len(before) + 1, len(before) + 1, f"{before}/"),
                )


def _folders(database: sqlite3.Connection) -> set[str]:
    """The URIs of the artifact folders that experiments name; one with its own place has none."""
    places = [str(place) for (place,) in database.execute("SELECT artifact_location FROM experiments")]
    folders = {place.rpartition("/")[0] for place in places if place.startswith("file://")}
    return {folder for folder in folders if folder.endswith("/mlartifacts")}
