"""Files in a storage: written whole, and errors of its client in one line."""

import contextlib
from contextlib import AbstractContextManager
from typing import Any

from ndcl.filesystems import clear_errors, shown

UNREACHABLE = "the storage can't be reached"
"""Stands in every error of a storage, also where Ray has turned it into text."""


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


def clear_storage_errors(uri: str) -> AbstractContextManager[None]:
    """Turn what the storage's client says into a UserError of one line."""
    return clear_errors(f"{shown(uri)}: {UNREACHABLE}", then=", then run the same command again")
