"""The checkpoint folders of a sweep's trials in an object store, laid out as `checkpoints.py` says.

Objects appear one by one, so that a checkpoint is taken as whole once all its files are there. What is in them is
verified where a trial resumes from a copy. Listing a store is slow: what a trial has left is listed only where a trial
is taken up again, and otherwise known from what has been reported.
"""

import json
from collections import defaultdict
from pathlib import PurePosixPath
from typing import Any

from harness.storage.checkpoints import EVALUATION_FILE, SEGMENT, TRAINING, below_root, written
from harness.storage.stored_files import clear_storage_errors
from ndcl.checkpoint_files import MANIFEST, STATE
from ndcl.filesystems import files_below, filesystem_of, join, remove_folder


class StoredCheckpointFolders:
    """All checkpoints of a sweep, below a URI."""

    def __init__(self, uri: str) -> None:
        self.place = uri
        """What Ray Tune writes into."""
        self._filesystem, self._root = filesystem_of(uri)
        self._known: dict[str, set[str]] = defaultdict(set)
        """The checkpoint folders of each trial, relative to the root."""
        for folder in self._listed():
            self._known[_trial(folder)].add(folder)
        self._newest_run = self._newest()
        """No number is given twice, since a process of an earlier start may still write there."""

    def new_run(self) -> str:
        """Name of the next start's folder."""
        self._newest_run = max(self._newest_run, self._newest()) + 1
        return f"run-{self._newest_run:04d}"

    def _newest(self) -> int:
        return max((int(name.removeprefix("run-")) for name in self._runs()), default=0)

    def run_place(self, run: str) -> str:
        """The place of a start's folder, for Ray Train to write into."""
        return join(self.place, run)

    def address(self, path: str) -> str:
        """The URI of a checkpoint, by the path that Ray tells, or that it had before the sweep was moved."""
        return join(self.place, below_root(path))

    def is_whole(self, checkpoint: str) -> bool:
        """Whether all of a checkpoint is there."""
        folder = below_root(checkpoint)
        return self._is_whole(folder, set(self._files(f"{self._root}/{folder}")))

    def newest(self, trial: str) -> str | None:
        """The trial's whole checkpoint of the highest step, over all starts, or None."""
        listed = {folder: files for folder, files in self._listed().items() if _trial(folder) == trial}
        self._known[trial] = set(listed)
        whole = [folder for folder, files in listed.items() if self._is_whole(folder, files)]
        return (
            join(self.place, max(whole, key=lambda each: (self._step(each), *written(each, trial)))) if whole else None
        )

    def has_arrived(self, checkpoint: str) -> bool:
        """Whether all its files are there: pyarrow, by which Ray uploads, does not tell of an upload that failed."""
        folder = below_root(checkpoint)
        self._known[_trial(folder)].add(folder)
        return self.is_whole(checkpoint)

    def copy(self, checkpoint: str, trial: str) -> str:
        """Copy another trial's checkpoint to be the newest of `trial`."""
        from pyarrow import fs

        source = PurePosixPath(below_root(checkpoint))
        copied = f"{source.parts[0]}/{trial}/checkpoint_from_{source.parts[1]}_{self._step(str(source))}"
        with clear_storage_errors(self.place):
            fs.copy_files(f"{self._root}/{source}", f"{self._root}/{copied}", self._filesystem, self._filesystem)
        self._known[trial].add(copied)
        return join(self.place, copied)

    def keep_only(self, trial: str, kept: str | None) -> None:
        """Remove the trial's other checkpoints."""
        remaining = set() if kept is None else {below_root(kept)}
        for folder in self._known[trial] - remaining:
            self._delete(folder)
        self._known[trial] = remaining

    def remove_empty_runs(self) -> None:
        """Remove the folders of earlier starts that hold no checkpoint any more."""
        full = {PurePosixPath(folder).parts[0] for folders in self._known.values() for folder in folders}
        for run in self._runs():
            if run not in full:
                self._delete(run)

    def _runs(self) -> list[str]:
        names = {name.partition("/")[0] for name in self._files(self._root)}
        return [name for name in names if name.startswith("run-")]

    def _listed(self) -> dict[str, set[str]]:
        """The files of each checkpoint folder, relative to it."""
        found = defaultdict(set)
        for name in self._files(self._root):
            parts = name.split("/")
            if len(parts) > 3 and parts[2].startswith("checkpoint_"):
                found["/".join(parts[:3])].add("/".join(parts[3:]))
        return found

    def _files(self, folder: str) -> list[str]:
        with clear_storage_errors(self.place):
            return files_below(self._filesystem, folder)

    def _step(self, folder: str) -> int:
        """The optimiser step of a checkpoint."""
        return int(self._json(f"{folder}/{EVALUATION_FILE}")["step"])

    def _is_whole(self, folder: str, files: set[str]) -> bool:
        """Whether all files of a checkpoint of one training, or of several under one manifest, are there."""
        if not {EVALUATION_FILE, f"{TRAINING}/{MANIFEST}"} <= files:
            return False
        parts = self._json(f"{folder}/{TRAINING}/{MANIFEST}").get("parts")
        folders = [TRAINING] if parts is None else [f"{TRAINING}/{part}" for part in parts]
        return {f"{name}/{file}" for name in folders for file in (MANIFEST, STATE)} <= files

    def _json(self, name: str) -> dict[str, Any]:
        path = f"{self._root}/{name}"
        with clear_storage_errors(self.place), self._filesystem.open_input_stream(path) as file:
            values: dict[str, Any] = json.loads(file.read())
        return values

    def _delete(self, folder: str) -> None:
        with clear_storage_errors(self.place):
            remove_folder(self._filesystem, f"{self._root}/{folder}")


def _trial(folder: str) -> str:
    """The name of the trial that a checkpoint folder belongs to."""
    return PurePosixPath(folder).parts[1].partition(SEGMENT)[0]
