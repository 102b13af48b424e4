"""A sweep's second home, which outlives the machine that runs it: a folder that all nodes share, or an object store.

There lie the trials' checkpoints, which the trials write themselves, and all that a sweep goes on from: its own file
and its journal, each file written there before it is written here. So the copy in the storage is the newer one, always,
and a start brings the folder on this machine to what the storage holds. Databases and reports come from the journal.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ndcl.data.remote import fetch_files, files_below, filesystem_of, is_uri, join, remove_folder, shown
from ndcl.errors import UserError

if TYPE_CHECKING:
    from harness.checkpoints import AnyCheckpointFolders

STORAGE_FILE = ".storage"
"""Names, in a sweep's folder, the place of its storage."""
FOLDERS = ("trials", "populations")
"""What the journal consists of."""
UNREACHABLE = "the storage can't be reached"
"""Stands in every error of a storage, also where Ray has turned it into text."""


class Storage:
    """The storage of one sweep."""

    def __init__(self, place: str, sweep: str) -> None:
        """`place` is a folder or a URI, shared by all sweeps. Raises UserError if it is of an unknown kind or holds
        a key.
        """
        uri = place if is_uri(place) else Path(place).resolve().as_uri()
        self.place = place if is_uri(place) else str(Path(place).resolve())
        self.shown_place = shown(self.place)
        """Fit to be printed."""
        self.sweep = sweep
        self.uri = join(uri, sweep)
        self.refusal: Callable[[], str | None] = lambda: None
        """Why nothing may be written any more, or None."""
        self._filesystem, self._path = filesystem_of(self.uri)

    def checkpoints(self) -> "AnyCheckpointFolders":
        """The checkpoints of the sweep's trials."""
        from harness.checkpoints import CheckpointFolders
        from harness.stored_checkpoints import StoredCheckpointFolders

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


class StoredFile:
    """A file in a storage. Its methods raise UserError where the storage can't be reached."""

    def __init__(self, uri: str, filesystem: Any, path: str) -> None:
        """`uri` is that of the storage, for messages."""
        self._uri, self._filesystem, self._path = uri, filesystem, path

    def write(self, text: str) -> None:
        """Write it whole or not at all."""
        content = text.encode()
        with clear_storage_errors(self._uri):
            if not self._uri.startswith("file://"):  # an object store shows an object once it is whole
                self._write(self._path, content)
                return
            self._filesystem.create_dir(self._path.rpartition("/")[0])
            self._write(f"{self._path}.partial", content)
            self._filesystem.move(f"{self._path}.partial", self._path)

    def read(self) -> str | None:
        """What it holds, or None if it is not there."""
        with clear_storage_errors(self._uri):
            try:
                with self._filesystem.open_input_stream(self._path) as stream:
                    return bytes(stream.read()).decode()
            except FileNotFoundError:
                return None

    def remove(self) -> None:
        """Remove it, if it is there."""
        with clear_storage_errors(self._uri), contextlib.suppress(FileNotFoundError):
            self._filesystem.delete_file(self._path)

    def _write(self, path: str, content: bytes) -> None:
        with self._filesystem.open_output_stream(path) as stream:
            stream.write(content)


@contextlib.contextmanager
def clear_storage_errors(uri: str) -> Iterator[None]:
    """Turn what the storage's client says into a UserError of one line."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{shown(uri)}: {UNREACHABLE} ({reason}); check the address, the network and your credentials, then run "
            "the same command again"
        ) from None


def recorded_storage(folder: Path) -> str | None:
    """The place of the storage of the sweep at `folder`, or None if it has none."""
    path = folder / STORAGE_FILE
    return path.read_text() if path.exists() else None


def record_storage(folder: Path, storage: Storage) -> None:
    """Write down, in a sweep's folder, which storage it has."""
    (folder / STORAGE_FILE).write_text(storage.place)


def storage_of(folder: Path) -> Storage | None:
    """The storage of the sweep at `folder`, or None if it has none."""
    place = recorded_storage(folder)
    return None if place is None else Storage(place, folder.name)
