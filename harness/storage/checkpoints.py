"""The checkpoint folders of a sweep's trials: which is whole, which is the newest, and which may go.

Each start of a sweep has its own folder below `ray/`, and in it one folder per trial: `run-0002/<trial>/checkpoint_*`,
or several, where a trial waited for others and continued.
"""

import glob
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from harness.storage.scratch import scratch_folder
from ndcl.checkpoint_files import is_checkpoint
from ndcl.filesystems import fetch_folder, filesystem_of, is_uri, join

TRAINING, EVALUATION_FILE, TRACE = "training", "evaluation.json", "trace.json.gz"
"""What a checkpoint folder holds: the training's own checkpoint, the evaluation made there, perhaps a profile."""
CHECKPOINT_GONE = "its checkpoint is gone"
"""How the reason begins of a trial that failed for lack of a checkpoint."""
SEGMENT = ".from-"
"""Stands between a trial's name and a step in the folder of a trial that continued after it waited for others."""


def is_whole(folder: Path) -> bool:
    """Whether `folder` holds all that a trial needs to resume from there."""
    return _step(folder) is not None and is_checkpoint(folder / TRAINING)


def below_root(checkpoint: str) -> str:
    """Where a checkpoint lies below a sweep's `ray/`: `run-0002/<trial>/checkpoint_*`.

    It is the same however its path or URI is spelled, and after the sweep has been moved.
    """
    path = checkpoint.partition("?")[0] if is_uri(checkpoint) else checkpoint
    return "/".join(PurePosixPath(path).parts[-3:])


def trial_folder(trial: str, step: int) -> str:
    """Name of the folder, within one start's, of a trial that resumes from `step`."""
    return f"{trial}{SEGMENT}{step}" if step else trial


def written(checkpoint: str, trial: str) -> tuple[int, int, str]:
    """By this the checkpoints of a trial that have the same evaluation are in the order in which they were written.

    Those that were written at a notice, between two evaluations, have the evaluation before them.
    """
    run, folder, name = below_root(checkpoint).split("/")
    return int(run.removeprefix("run-")), int(folder.removeprefix(trial).removeprefix(SEGMENT) or 0), name


class AnyCheckpointFolders(Protocol):
    """All checkpoints of a sweep, on a disk or in an object store."""

    place: str
    """The path or URI that Ray Tune writes into."""

    def new_run(self) -> str:
        """Name of the next start's folder."""

    def run_place(self, run: str) -> str:
        """The place of a start's folder, for Ray Train to write into."""

    def address(self, path: str) -> str:
        """The path or URI of a checkpoint, by the path that Ray tells, or that it had before the sweep was moved."""

    def is_whole(self, checkpoint: str) -> bool:
        """Whether all of a checkpoint is there."""

    def newest(self, trial: str) -> str | None:
        """The trial's whole checkpoint of the highest step, over all starts, or None."""

    def has_arrived(self, checkpoint: str) -> bool:
        """Whether all files of a checkpoint that Ray has reported are there."""

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


def trace_of(checkpoint: str) -> bytes | None:
    """The profile that lies with the checkpoint at a path or URI, if there is any."""
    if not is_uri(checkpoint):
        path = Path(checkpoint) / TRACE
        return path.read_bytes() if path.exists() else None
    filesystem, place = filesystem_of(join(checkpoint, TRACE))
    if not filesystem.get_file_info(place).is_file:
        return None
    with filesystem.open_input_stream(place) as stream:
        return bytes(stream.read())


class CheckpointFolders:
    """All checkpoints of a sweep on a disk of this machine, or one that all nodes see."""

    def __init__(self, root: Path) -> None:
        """`root` is what Ray Tune writes into."""
        self.root = root.resolve()
        self.place = str(self.root)
        self._newest_run = self._newest()
        """No number is given twice, since a process of an earlier start may still write there."""

    def new_run(self) -> str:
        """Name of the next start's folder below `root`."""
        self._newest_run = max(self._newest_run, self._newest()) + 1
        return f"run-{self._newest_run:04d}"

    def _newest(self) -> int:
        return max((int(path.name.removeprefix("run-")) for path in self.root.glob("run-*")), default=0)

    def run_place(self, run: str) -> str:
        """The path of a start's folder, for Ray Train to write into."""
        return str(self.root / run)

    def address(self, path: str) -> str:
        """The path of a checkpoint, by the path that Ray tells, or that it had before the sweep was moved."""
        return str(self.root / below_root(path))

    def is_whole(self, checkpoint: str) -> bool:
        """Whether all of a checkpoint is there."""
        return is_whole(Path(checkpoint))

    def newest(self, trial: str) -> str | None:
        """The trial's whole checkpoint of the highest step, over all starts, or None."""

        def age(folder: Path) -> tuple[int, int, int, str]:
            return _step(folder) or 0, *written(str(folder), trial)

        folders = sorted(self._all(trial), key=age, reverse=True)
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
        """Remove the trial's other checkpoints."""
        remaining = None if kept is None else below_root(kept)
        for folder in self._all(trial):
            if below_root(str(folder)) != remaining:
                shutil.rmtree(folder, ignore_errors=True)

    def remove_empty_runs(self) -> None:
        """Remove the folders of earlier starts that hold no checkpoint any more."""
        for run in self.root.glob("run-*"):
            if not any(run.glob("*/checkpoint_*/")):
                shutil.rmtree(run, ignore_errors=True)

    def _all(self, trial: str) -> list[Path]:
        runs, legs = self.root.glob("run-*"), f"{glob.escape(trial)}{SEGMENT}*"
        folders = [folder for run in runs for folder in (run / trial, *run.glob(legs))]
        return [path for folder in folders for path in folder.glob("checkpoint_*/")]  # no files of Ray's


def _step(folder: Path) -> int | None:
    """The optimiser step of a checkpoint, or None if it is unknown."""
    try:
        return int(json.loads((folder / EVALUATION_FILE).read_text())["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
