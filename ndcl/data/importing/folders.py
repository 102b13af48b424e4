"""Images in folders domain/class/image, as the domain-generalization sets are unpacked."""

import os
from collections.abc import Iterator
from pathlib import Path

from ndcl.data.importing.source import SPLITS, Item, SourceKind
from ndcl.errors import UserError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".avif", ".jp2"}
)
_LITTER = frozenset({"thumbs.db", "desktop.ini"})
"""Files that operating systems leave; like those that start with a dot, they are passed over."""
_EXPECTED = "images are expected as DOMAIN/CLASS/IMAGE"


class FolderSource:
    """Every file of every class folder, in order of domain, class and path; classes and domains in order of name.

    A level of splits is joined: train/DOMAIN/CLASS/IMAGE and DOMAIN/train/CLASS/IMAGE are DOMAIN/CLASS/IMAGE.
    """

    kind: SourceKind = "images"
    shape: tuple[int, ...] | None = None
    dtype = "uint8"

    def __init__(self, folder: Path) -> None:
        """Raises UserError if `folder` has no such structure."""
        self._folder = folder
        cells = _cells(folder)
        self.domains = tuple(sorted({domain for domain, _, _, _ in cells}))
        self.classes = tuple(sorted({name for _, name, _, _ in cells}))
        self._cells = sorted(cells)
        self._files = [_files(path) for _, _, _, path in self._cells]
        if not any(self._files):
            raise UserError(f"{folder} holds no images in its class folders; {_EXPECTED}")

    def __len__(self) -> int:
        return sum(map(len, self._files))

    def items(self) -> Iterator[Item]:
        """One item a file."""
        for (domain, name, split, folder), files in zip(self._cells, self._files, strict=True):
            label, domain_id = self.classes.index(name), self.domains.index(domain)
            for file in files:
                path = folder / file
                yield Item(path, label, domain_id, shown(path.relative_to(self._folder)), split)


def shown(path: Path) -> str:
    """A path as text, also if its name is no valid Unicode."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def _cells(root: Path) -> list[tuple[str, str, str, Path]]:
    """All (domain, class, split, folder)."""
    top = _subfolders(root, "domains")
    if _are_splits(top):
        below = [(split.name, domain) for split in top for domain in _subfolders(split, "domains")]
        return [
            (domain.name, name.name, split, name) for split, domain in below for name in _subfolders(domain, "classes")
        ]
    cells = []
    for domain in top:
        second = _subfolders(domain, "classes")
        if _are_splits(second):
            cells += [(domain.name, c.name, s.name, c) for s in second for c in _subfolders(s, "classes")]
        else:
            cells += [(domain.name, c.name, "", c) for c in second]
    return cells


def _are_splits(folders: list[Path]) -> bool:
    return all(folder.name.lower() in SPLITS for folder in folders)


def _subfolders(folder: Path, what: str) -> list[Path]:
    """Its folders in order. Raises UserError if there are none, or images stand beside them."""
    try:
        entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    except OSError as error:
        raise _unreadable(error) from None
    found = [entry for entry in entries if entry.is_dir()]
    images = [entry for entry in entries if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()]
    if images:
        raise UserError(f"{shown(images[0])} stands where folders of {what} should be; {_EXPECTED}")
    if not found:
        raise UserError(f"{shown(folder)} holds no folders of {what}; {_EXPECTED}")
    return found


def _files(folder: Path) -> list[str]:
    """Files of a class folder and of folders in it, relative and in order."""
    found = []
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = os.path.relpath(parent, folder)
        found += [os.path.normpath(f"{below}/{name}") for name in files if _is_wanted(name)]
    return sorted(found)


def _refuse(error: OSError) -> None:
    raise _unreadable(error)


def _unreadable(error: OSError) -> UserError:
    return UserError(f"{shown(Path(error.filename))} can't be read ({error.strerror}); check its permissions")


def _is_wanted(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _LITTER
