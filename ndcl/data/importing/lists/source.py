"""A data set that lists describe: the images, each once, in the order that folders of them would have."""

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ndcl.data.importing.lists.coco import read_coco
from ndcl.data.importing.lists.columns import Columns
from ndcl.data.importing.lists.files import find_lists
from ndcl.data.importing.lists.finding import Finder
from ndcl.data.importing.lists.images import ListedImage, chosen, each_once, listed_images, naming_of
from ndcl.data.importing.lists.naming import Naming
from ndcl.data.importing.lists.rows import Table
from ndcl.data.importing.lists.table import read_table
from ndcl.data.importing.source import Item, SourceKind
from ndcl.errors import UserError

MISSING = "is in the list and not in the folder"
_NONE = -1
"""Label or domain of an image that has none."""


class ListSource:
    """Every image of all lists, in order of domain, class and path; an image of several equal rows counts once."""

    kind: SourceKind = "images"
    shape: tuple[int, ...] | None = None
    dtype = "uint8"

    def __init__(
        self,
        folder: Path,
        lists: Sequence[Path],
        *,
        columns: Columns | None = None,
        classes: Sequence[str] = (),
        domains: Sequence[str] = (),
    ) -> None:
        """`classes` and `domains` name numbers, or choose among names.

        Raises UserError for what is no list, what can't be made out in it, rows that contradict each other, and a
        folder that holds none of the images.
        """
        self._folder, self._finder = folder, Finder(folder)
        tables = self._tables(lists, columns or Columns())
        rows = [row for table in tables for row in table.rows]
        listed, words = listed_images(rows, self._finder.inside)
        by_class, by_domain = naming_of(listed, classes, domains)
        taken, others = chosen(listed, by_class, by_domain)
        once, remarks = each_once(taken, by_class, by_domain)
        self.classes, self.domains = by_class.names, by_domain.names
        self._label_of, self._domain_of = _indices(by_class), _indices(by_domain)
        self._images = sorted(once, key=self._order)
        found = {image.path: self._finder.find(image.path) for image in self._images}
        self._on_disk = {listed: path for listed, path in found.items() if path is not None}
        self._refuse_if_none_is_there()
        labels = "" if any(row.label is not None for row in rows) else "from the folders of the images"
        words, labels = ("; ".join(filter(None, pair)) for pair in ((words, by_domain.words), (labels, by_class.words)))
        named = [f"{kind}: {text}" for kind, text in (("classes", labels), ("domains", words)) if text]
        self.warnings = _unread_labels(tables)
        self.remarks = (*_forms(tables), *named, *others, *remarks)

    def __len__(self) -> int:
        return len(self._images)

    @property
    def missing(self) -> tuple[tuple[str, str], ...]:
        """(path, reason) of the images that are in a list and not in the folder."""
        return tuple((image.path, MISSING) for image in self._images if image.path not in self._on_disk)

    def items(self) -> Iterator[Item]:
        """One item an image."""
        for image in self._images:
            domain, label, _ = self._order(image)
            path = self._on_disk.get(image.path)
            file = self._folder / (path or image.path)
            yield Item(file, label, domain, image.path, image.row.split, "" if path else MISSING)

    def _tables(self, lists: Sequence[Path], columns: Columns) -> list[Table]:
        def exists(path: str) -> bool:
            return self._finder.holds(path)

        files = find_lists(lists)
        return [read_coco(file, columns) if file.is_json else read_table(file, columns, exists) for file in files]

    def _order(self, image: ListedImage) -> tuple[int, int, str]:
        return self._domain_of.get(image.domain, _NONE), self._label_of.get(image.label, _NONE), image.path

    def _refuse_if_none_is_there(self) -> None:
        if self._on_disk or not self._images:
            return
        first = min(self._images, key=lambda image: image.row.number)
        right = next((parent for parent in self._folder.absolute().parents if (parent / first.path).exists()), None)
        remedy = f"give {right}" if right else "give the folder to which the paths of the list are relative"
        raise UserError(f"{self._folder} holds no image of the list ({first.row.place}: {first.path}); {remedy}")


def _unread_labels(tables: Sequence[Table]) -> tuple[str, ...]:
    """A warning if the classes are from folders and a column may hold them."""
    unused = list(dict.fromkeys(name for table in tables for name in table.unused))
    if not unused or any(row.label is not None for table in tables for row in table.rows):
        return ()
    listed = ", ".join(f"'{name}'" for name in unused)
    option = shlex.quote(f"label={unused[0]}")
    return (
        f"classes are from the folders of the images, and {'column' if len(unused) == 1 else 'columns'} {listed} of "
        f"the list not read; if one holds the classes, name it, as with --columns {option}",
    )


def _indices(naming: Naming) -> dict[str, int]:
    """Of each value of the list."""
    index_of = {name: index for index, name in enumerate(naming.names)}
    return {value: index_of[name] for value, name in naming.name_of.items()}


def _forms(tables: Sequence[Table]) -> list[str]:
    """What was made out of the lists, a line for each form, and what was passed over."""
    counts = Counter(table.columns for table in tables)
    rows = Counter[str]()
    for table in tables:
        rows[table.columns] += len(table.rows)
    forms = [
        f"{number} {'list' if number == 1 else 'lists'} of {rows[words]:,} rows: {words}"
        for words, number in counts.items()
    ]
    return forms + [remark for table in tables for remark in table.remarks]
