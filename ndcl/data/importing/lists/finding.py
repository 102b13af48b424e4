"""Files below a folder by the paths that a list gives, with each folder read once."""

import os
import re
import unicodedata
from pathlib import Path

from ndcl.errors import UserError

_PLAIN = re.compile(r"[^/.][^/]*(?:/[^/.][^/]*)*")
"""A relative path of names none of which begins with a dot."""


class Finder:
    """Finds what lies below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._bases = (Path(os.path.normpath(root.absolute())), root.resolve())
        self._names: dict[str, dict[str, str]] = {}
        """Of each folder: the names in it, by their composed Unicode form."""

    def inside(self, path: str) -> str:
        """A list's path relative to the root, without `.` and `..`. Raises UserError if it leads out of it."""
        if "\\" in path and self._by_parts(path) is None:  # written on Windows
            path = path.replace("\\", "/")
        if _PLAIN.fullmatch(path):
            return path
        normal = Path(os.path.normpath(path))
        for base in self._bases:
            if normal.is_absolute() and normal.is_relative_to(base):
                normal = normal.relative_to(base)
        if normal.is_absolute() or normal.parts[:1] == (os.pardir,):
            raise UserError(
                f"'{path}' lies outside {self._root}; give the folder to which the paths of the list are relative"
            )
        return normal.as_posix()

    def holds(self, path: str) -> bool:
        """Whether a list's path is one of a file below the root."""
        try:
            return self.find(self.inside(path)) is not None
        except UserError:
            return False

    def find(self, inside: str) -> str | None:
        """The path as the disk has it, which may be in another Unicode form. None if there is no such file."""
        folder, _, name = inside.rpartition("/")
        if name in self._listed(folder).values():
            return inside
        return self._by_parts(inside)

    def _by_parts(self, inside: str) -> str | None:
        found = ""
        for part in inside.split("/"):
            name = self._listed(found).get(unicodedata.normalize("NFC", part))
            if name is None:
                return None
            found = f"{found}/{name}" if found else name
        return found

    def _listed(self, folder: str) -> dict[str, str]:
        if folder not in self._names:
            try:
                names = [entry.name for entry in (self._root / folder).iterdir()]
            except OSError:
                names = []
            self._names[folder] = {unicodedata.normalize("NFC", name): name for name in names}
        return self._names[folder]
