"""A sweep's second home, which outlives the machine that runs it: a folder that all nodes share, or an object store.

There lie the trials' checkpoints, which the trials write themselves, and all that a sweep resumes from: its own file
and its journal, each file written there before it is written here. So the copy in the storage is the newer one, always,
and a start brings the folder on this machine to what the storage holds. Databases and reports come from the journal.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.records.sweep_files import text_of
from harness.storage.stored_files import StoredFile, clear_storage_errors
from ndcl.errors import UserError
from ndcl.files import write_whole
from ndcl.filesystems import fetch_files, files_below, filesystem_of, join, local_path, remove_folder, shown

if TYPE_CHECKING:
    from harness.storage.checkpoints import AnyCheckpointFolders

STORAGE_FILE = ".storage"
"""Names, in a sweep's folder, the place of its storage."""
FOLDERS = ("trials", "populations")
"""What the journal consists of."""


class Storage:
    """The storage of one sweep."""

    def __init__(self, place: str, sweep: str) -> None:
        """`place` is a folder or a URI, shared by all sweeps. Raises UserError if it is of an unknown kind or holds
        a key.
        """
        folder = local_path(place)
        self.place = str(folder) if folder else _without_last_slash(place)
        """The same for all spellings of a place."""
        self.shown_place = shown(self.place)
        """Fit to be printed."""
        self.sweep = sweep
        self.uri = (folder / sweep).as_uri() if folder else join(self.place, sweep)
        self.refusal: Callable[[], str | None] = lambda: None
        """Why nothing may be written any more, or None."""
        self._filesystem, self._path = filesystem_of(self.uri)

    def checkpoints(self) -> "AnyCheckpointFolders":
        """The checkpoints of the sweep's trials."""
        from harness.storage.checkpoints import CheckpointFolders
        from harness.storage.object_checkpoints import StoredCheckpointFolders

        if self.uri.startswith("file://"):
            return CheckpointFolders(Path(self._path) / "ray")
        return StoredCheckpointFolders(join(self.uri, "ray"))

    def put(self, name: str, text: str) -> None:
        """Write the file `name`, a path below the sweep's folder, whole or not at all. Raises UserError."""
        refusal = self.refusal()
        if refusal is not None:
            raise UserError(refusal)
        StoredFile(self.uri, self._filesystem, f"{self._path}/{name}").write(text)

    @property
    def lease_file(self) -> "StoredFile":
        """Tells who runs the sweep. It lies beside the sweep's folder, and stays when that is cleared."""
        return StoredFile(self.uri, self._filesystem, f"{self._path}.lease")

    def read(self, name: str) -> str | None:
        """What the file `name` holds, or None if it is not there. Raises UserError."""
        return StoredFile(self.uri, self._filesystem, f"{self._path}/{name}").read()

    def fetch(self, folder: Path) -> bool:
        """Bring the sweep's file and journal in `folder` to what the storage holds; False if it holds none. Raises
        UserError.
        """
        with self._clear_errors():
            names = self._names()
            for part in FOLDERS:
                names += [f"{part}/{name}" for name in files_below(self._filesystem, f"{self._path}/{part}")]
            fetch_files(self._filesystem, self._path, names, folder)
        return bool(names)

    def clear(self) -> None:
        """Remove all that is stored of the sweep. Raises UserError."""
        with self._clear_errors():
            remove_folder(self._filesystem, self._path)

    def _names(self) -> list[str]:
        """Of the files, without those in folders."""
        from pyarrow import fs

        infos = self._filesystem.get_file_info(fs.FileSelector(self._path, allow_not_found=True))
        return [info.base_name for info in infos if info.is_file]

    @contextlib.contextmanager
    def _clear_errors(self) -> Iterator[None]:
        with clear_storage_errors(self.uri):
            yield


def _without_last_slash(uri: str) -> str:
    place, mark, options = uri.partition("?")
    return f"{place.rstrip('/')}{mark}{options}"


def recorded_storage(folder: Path) -> str | None:
    """The place of the storage of the sweep at `folder`, or None if it has none. Raises UserError if unreadable."""
    storage = storage_of(folder)
    return None if storage is None else storage.place


def record_storage(folder: Path, storage: Storage) -> None:
    """Write down, in a sweep's folder, which storage it has."""
    write_whole(folder / STORAGE_FILE, storage.place)


def storage_of(folder: Path) -> Storage | None:
    """The storage of the sweep at `folder`, or None if it has none."""
    path = folder / STORAGE_FILE
    if not path.exists():
        return None
    return Storage(text_of(path, "write the place of the sweep's storage into it").strip(), folder.name)
