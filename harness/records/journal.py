"""The folder of records: read whatever its state, written whole."""

import json
from collections.abc import Callable
from pathlib import Path

from harness.records.record import TrialRecord
from harness.records.sweep_files import json_of, unreadable
from ndcl.errors import UserError
from ndcl.files import write_whole
from ndcl.strict import from_dict

Put = Callable[[str, str], None]
"""Writes a text under a name, a path below the sweep's folder, in a storage."""

DAMAGED = "take it from a copy, or delete it: the next ndcl sweep then trains another in its place"
FOREIGN = "read it by the version of ndcl that wrote it, or move it elsewhere"


class Journal:
    """The records of one sweep below a folder."""

    def __init__(self, folder: Path, put: Put | None = None) -> None:
        """What is written is given to `put` first, if there is one."""
        self.folder = folder / "trials"
        self._put = put

    def write(self, record: TrialRecord) -> None:
        """Replace the record's file atomically."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{record.name}.json"
        text = json.dumps({**vars(record), "study": vars(record.study)}, indent=1, allow_nan=False)
        if self._put is not None:
            self._put(f"{self.folder.name}/{path.name}", text)
        write_whole(path, text)

    def read(self) -> list[TrialRecord]:
        """All records, by name. Raises UserError if one can't be read."""
        return list(self.files().values())

    def files(self, left_out: Callable[[UserError], None] | None = None) -> dict[Path, TrialRecord]:
        """All records by their files, in order of their names.

        One that can't be read is `left_out`, which is called with the reason; without that it raises UserError.
        Version 0.1 put a target's name as it is into that of a file; once such a record is written anew, that counts.
        """
        paths: dict[str, Path] = {}
        records: dict[Path, TrialRecord] = {}
        for path in sorted(self.folder.glob("[!.]*.json")):  # other systems leave `._x.json` beside what they copy
            try:
                records[path] = _load(path)
            except UserError as error:
                if left_out is None:
                    raise
                left_out(error)
                continue
            name = records[path].name
            if name not in paths or path.stem == name:
                paths[name] = path
        return {paths[name]: records[paths[name]] for name in sorted(paths)}


def _load(path: Path) -> TrialRecord:
    """Raises UserError: one line with the file, what is wrong with it, and the remedy."""
    values = json_of(path, DAMAGED)
    try:
        record = from_dict(TrialRecord, values)
    except UserError as error:
        raise unreadable(path, f"it is no record of this version of ndcl: {error}", FOREIGN) from None
    if not all(isinstance(evaluation.get("step"), int) for evaluation in record.evaluations):
        raise unreadable(path, "it has an evaluation without a step", DAMAGED)
    return record
