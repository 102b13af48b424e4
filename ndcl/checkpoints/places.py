"""Where the checkpoints of a training lie, one folder each by step: on a disk, or in an object store.

An object store knows no renaming of folders. There a checkpoint is whole once its manifest is there, which is sent last
and removed first; its digests are checked when it is read.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from ndcl.checkpoint_files import MANIFEST, step_of
from ndcl.checkpoints.content import Content, Parts, folder_name, newest, remove_older
from ndcl.errors import UserError
from ndcl.filesystems import (
    CHUNK_BYTES,
    clear_errors,
    fetch_folder,
    files_below,
    filesystem_of,
    is_uri,
    join,
    remove_folder,
    shown,
)


class CheckpointFolder(Protocol):
    """The checkpoints of one training."""

    def newest(self) -> int | None:
        """The step of the newest whole one."""

    def add(self, step: int, content: Content | Parts) -> None:
        """Write a checkpoint, whole or not at all, and only then remove those before it."""

    def fetched(self, step: int) -> Any:
        """A context in which the checkpoint of `step` is a folder on this machine."""


def checkpoint_folder(place: Path | str) -> CheckpointFolder:
    """The folder at `place`, a path or a URI. Raises UserError for a kind of URI that is not known."""
    return RemoteFolder(place) if isinstance(place, str) and is_uri(place) else LocalFolder(Path(place))


class LocalFolder:
    """On a disk of this machine, or one that all workers see."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def newest(self) -> int | None:
        """The step of the newest whole one."""
        found = newest(self._path)
        return None if found is None else step_of(found)

    def add(self, step: int, content: Content | Parts) -> None:
        """Write a checkpoint, whole or not at all, and only then remove those before it."""
        content.write(self._path / folder_name(step))
        remove_older(self._path, step)

    @contextmanager
    def fetched(self, step: int) -> Iterator[Path]:
        """The checkpoint of `step`."""
        yield self._path / folder_name(step)


class RemoteFolder:
    """In an object store (s3://, gs://, abfs://), or at a file:// URI."""

    def __init__(self, uri: str) -> None:
        """Raises UserError for another kind of URI, or one that can't be understood."""
        self._uri = uri
        self._filesystem, self._path = filesystem_of(uri)

    def newest(self) -> int | None:
        """The step of the newest one that has its manifest. Raises UserError if the store can't be read."""
        return max((step for step, is_whole in self._steps().items() if is_whole), default=None)

    def add(self, step: int, content: Content | Parts) -> None:
        """Write a checkpoint on this machine and send it; only then remove those before it. Raises UserError."""
        with tempfile.TemporaryDirectory(prefix="ndcl-checkpoint-") as name:
            folder = Path(name) / folder_name(step)
            content.write(folder)
            self._send(folder)
        for older, is_whole in self._steps().items():
            if older < step:
                self._remove(f"{self._path}/{folder_name(older)}", is_whole)

    @contextmanager
    def fetched(self, step: int) -> Iterator[Path]:
        """A copy of the checkpoint of `step`. Raises UserError if it can't be read.

        A UserError that names the copy, as of a checkpoint that is damaged, is made to name the original.
        """
        with tempfile.TemporaryDirectory(prefix="ndcl-checkpoint-") as name:
            copy = Path(name) / folder_name(step)
            with self._clear_errors("read", folder_name(step)):
                fetch_folder(self._filesystem, f"{self._path}/{copy.name}", copy)
            try:
                yield copy
            except UserError as error:
                raise UserError(str(error).replace(str(copy), self._shown(copy.name))) from None

    def _steps(self) -> dict[int, bool]:
        """Of all checkpoints, and of what a kill has left of any: whether the manifest is there."""
        with self._clear_errors("read"):
            paths = {PurePosixPath(name) for name in files_below(self._filesystem, self._path)}
        folders = {Path(path.parts[0]) for path in paths if path.parts[0].startswith("step-")}
        return {step_of(folder): PurePosixPath(folder, MANIFEST) in paths for folder in folders}

    def _send(self, folder: Path) -> None:
        files, manifest = [path for path in folder.rglob("*") if path.is_file()], folder / MANIFEST
        files.sort(key=lambda path: path == manifest)
        for file in files:
            self._send_file(file, f"{self._path}/{file.relative_to(folder.parent)}", folder.name)

    def _send_file(self, file: Path, target: str, name: str) -> None:
        # not by fs.copy_files, which does not tell that the end of an upload has failed (pyarrow 25)
        with self._clear_errors("written", name), file.open("rb") as source:
            self._filesystem.create_dir(target.rpartition("/")[0])
            with self._filesystem.open_output_stream(target) as stream:
                shutil.copyfileobj(source, stream, CHUNK_BYTES)

    def _remove(self, folder: str, is_whole: bool) -> None:
        with self._clear_errors("written"):
            if is_whole:
                self._filesystem.delete_file(f"{folder}/{MANIFEST}")
            remove_folder(self._filesystem, folder)

    def _clear_errors(self, done: str, name: str = "") -> AbstractContextManager[None]:
        return clear_errors(f"checkpoint '{self._shown(name)}' cannot be {done}")

    def _shown(self, name: str) -> str:
        return shown(join(self._uri, name))
