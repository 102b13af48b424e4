"""Images in folders domain/class/image, as the domain-generalization sets are unpacked."""

from collections.abc import Iterator
from pathlib import Path

from ndcl.data.importing.layout import EXPECTED, find_layout
from ndcl.data.importing.names import joined, shown
from ndcl.data.importing.source import Item, SourceKind
from ndcl.data.importing.walk import Folder, read_tree
from ndcl.errors import UserError


class FolderSource:
    """Every file of every class folder, in order of domain, class and path; classes and domains in order of name.

    `find_layout` says which folders are the domains and the classes. Links are followed.
    """

    kind: SourceKind = "images"
    shape: tuple[int, ...] | None = None
    dtype = "uint8"

    def __init__(self, tree: Folder) -> None:
        """Of a folder read by `read_images`. Raises UserError if it has no such structure."""
        folder = self._folder = tree.path
        layout = find_layout(tree)
        self._cells = layout.cells
        self.domains = tuple(sorted({cell.domain for cell in self._cells}))
        self.classes = tuple(sorted({cell.class_name for cell in self._cells}))
        self._files = [sorted(_files(cell.folder, cell.folder.path)) for cell in self._cells]
        if not any(self._files):
            raise UserError(f"{shown(folder)} holds no images in its class folders; {EXPECTED}")
        self.remarks = (*layout.remarks, *joined("class", [cell.folder.name for cell in self._cells]))

    def __len__(self) -> int:
        return sum(map(len, self._files))

    def items(self) -> Iterator[Item]:
        """One item a file."""
        for cell, files in zip(self._cells, self._files, strict=True):
            label, domain = self.classes.index(cell.class_name), self.domains.index(cell.domain)
            for file in files:
                path = cell.folder.path / file
                yield Item(path, label, domain, shown(path.relative_to(self._folder)), cell.split)


def read_images(folder: Path) -> Folder:
    """All that lies in a folder of images. Raises UserError for a folder that can't be read."""
    return read_tree(folder, _refuse)


def _files(folder: Folder, root: Path) -> Iterator[str]:
    """Files of a class folder and of folders in it, relative to `root`."""
    for inner in folder.below():
        below = inner.path.relative_to(root).as_posix()
        yield from inner.files if below == "." else (f"{below}/{name}" for name in inner.files)


def _refuse(error: OSError) -> None:
    raise UserError(f"{shown(Path(error.filename))} can't be read ({error.strerror}); check its permissions")
