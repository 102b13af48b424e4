"""The checkpoint folders of a sweep's trials: which is whole, which is the newest, and which may go.

Each start of a sweep has its own folder below `ray/`, and in it one folder per trial: `run-0002/<trial>/checkpoint_*`,
or several, where a trial waited for others and went on.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from harness.scratch import scratch_folder
from ndcl.data.remote import fetch_folder, filesystem_of, is_uri

TRAINING, EVALUATION_FILE = "training", "evaluation.json"
"""What a checkpoint folder holds: the training's own checkpoint, and the evaluation made there."""
LEG = ".from-"
"""Stands between a trial's name and a step in the folder of a trial that went on after it waited for others."""


def is_whole(folder: Path) -> bool:
    """Whether `folder` holds all that a trial needs to go on from there."""
    from ndcl.checkpoints import is_checkpoint  # imports torch, which a sweep that starts anew does not need here

    return _step(folder) is not None and is_checkpoint(folder / TRAINING)


def trial_folder(trial: str, step: int) -> str:
    """Name of the folder, within one start's, of a trial that goes on from `step`."""
    return f"{trial}{LEG}{step}" if step else trial


class AnyCheckpointFolders(Protocol):
    """All checkpoints of a sweep, on a disk or in an object store."""

    place: str
    """The path or URI that Ray Tune writes into."""

    def new_run(self) -> str:
        """Name of the next start's folder."""

    def run_place(self, run: str) -> str:
        """The place of a start's folder, for Ray Train to write into."""

    def address(self, path: str) -> str:
        """The path or URI of a checkpoint, by the path that Ray tells."""

    def newest(self, trial: str) -> str | None:
        """The trial's whole checkpoint of the highest step, over all starts, or None."""

    def has_arrived(self, checkpoint: str) -> bool:
        """Whether all files of a checkpoint that Ray has told of are there."""

    def copy(self, checkpoint: str, trial: str) -> str:
        """Copy another trial's checkpoint to be the newest of `trial`."""

    def keep_only(self, trial: str, kept: str | None) -> None:
        """Remove the trial's other checkpoints."""

    def remove_empty_runs(self) -> None:
        """Remove the folders of earlier starts that hold no checkpoint any more."""


@contextmanager
def fetched(checkpoint: str) -> Iterator[Path]:
    """The checkpoint at a path or URI as a folder on this machine; a copy of one in an object store, for so long."""
    if not is_uri(checkpoint):
        yield Path(checkpoint)
        return
    filesystem, path = filesystem_of(checkpoint)
    with tempfile.TemporaryDirectory(prefix="checkpoint-", dir=scratch_folder()) as name:
        fetch_folder(filesystem, path, Path(name))
        yield Path(name)


class CheckpointFolders:
    """All checkpoints of a sweep on a disk of this machine, or one that all nodes see."""

    def __init__(self, root: Path) -> None:
        """`root` is what Ray Tune writes into."""
        self.root = root
        self.place = str(root.resolve())

    def new_run(self) -> str:
        """Name of the next start's folder below `root`."""
        numbers = [int(path.name.removeprefix("run-")) for path in self.root.glob("run-*")]
        return f"run-{max(numbers, default=0) + 1:04d}"

    def run_place(self, run: str) -> str:
        """The path of a start's folder, for Ray Train to write into."""
        return str(self.root.resolve() / run)

    def address(self, path: str) -> str:
        """The path of a checkpoint, as Ray tells it."""
        return path

    def newest(self, trial: str) -> str | None:
        """The trial's whole checkpoint of the highest step, over all starts, or None."""
        folders = sorted(self._all(trial), key=lambda folder: _step(folder) or 0, reverse=True)
        return next((str(folder) for folder in folders if is_whole(folder)), None)

    def has_arrived(self, checkpoint: str) -> bool:
        """True: what can't be written to a disk is an error there."""
        return True

    def copy(self, checkpoint: str, trial: str) -> str:
        """Copy another trial's checkpoint to be the newest of `trial`."""
        source = Path(checkpoint)
        copied = source.parents[1] / trial / f"checkpoint_from_{source.parent.name}_{_step(source)}"
        if not is_whole(copied):
            shutil.rmtree(copied, ignore_errors=True)
            shutil.copytree(source, copied)
        return str(copied)

    def keep_only(self, trial: str, kept: str | None) -> None:
        """Remove the trial's other checkpoints, and the folders of earlier starts that this leaves empty."""
        for folder in self._all(trial):
            if str(folder) != kept:
                shutil.rmtree(folder, ignore_errors=True)

    def remove_empty_runs(self) -> None:
        """Remove the folders of earlier starts that hold no checkpoint any more."""
        for run in self.root.glob("run-*"):
            if not any(run.glob("*/checkpoint_*/")):
                shutil.rmtree(run, ignore_errors=True)

    def _all(self, trial: str) -> list[Path]:
        runs = self.root.glob("run-*")
        folders = [folder for run in runs for folder in (run / trial, *run.glob(f"{trial}{LEG}*"))]
        return [path for folder in folders for path in folder.glob("checkpoint_*/")]  # no files of Ray's


def _step(folder: Path) -> int | None:
    """The optimiser step of a checkpoint, or None if it can't be told."""
    try:
        return int(json.loads((folder / EVALUATION_FILE).read_text())["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
