"""Parquet as on the public hubs: one row an image or a feature vector, with its label and domain."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ndcl.data.importing.labels import NO_LABEL
from ndcl.data.importing.names import clean_name, shown
from ndcl.data.importing.parquet_columns import ColumnNames, Values, columns_of, labels_of, read_batches
from ndcl.data.importing.source import SPLITS, Item, SourceKind
from ndcl.errors import UserError

_ROWS_AT_ONCE = 64
_SHARD = re.compile(r"(.+)-\d+-of-\d+\.parquet")
"""The name of one of several files, as the hubs write them; it begins with the split."""


class ParquetSource:
    """The rows of all files, in order of file name.

    Names of classes and domains come from each file's `huggingface` metadata, else from `classes` and `domains`, else
    from the column itself: text is sorted, numbers become their own names. A number means what its own file says. With
    no domain column, the folder that a file lies in is its domain; folders of splits are none.
    """

    kind: SourceKind = "images"
    shape: tuple[int, ...] | None = None
    dtype = "uint8"

    def __init__(
        self, files: Sequence[Path], *, root: Path, classes: Sequence[str] = (), domains: Sequence[str] = ()
    ) -> None:
        """Raises UserError for files that can't be read, columns that are missing, and numbers without a name."""
        self._files = sorted(files)
        self._root = root
        self._columns = columns_of(self._files)
        label = labels_of(self._files, self._columns.label, "class", classes)
        self.classes, self._label_of = label.names, label.indices
        if self._columns.domain:
            domain = labels_of(self._files, self._columns.domain, "domain", domains)
        else:
            domain = _domains_from_places(self._files, root)
        self.domains, self._domain_of = domain.names, domain.indices
        self.remarks: tuple[str, ...] = (*label.remarks, *domain.remarks)
        self._num_rows = label.num_rows
        if self._columns.is_features:
            self.kind = "vectors"
            self.shape, self.dtype = _vector_form(self._files, self._columns.content)

    def __len__(self) -> int:
        return self._num_rows

    def items(self) -> Iterator[Item]:
        """One item a row."""
        for file, label_of, domain_of in zip(self._files, self._label_of, self._domain_of, strict=True):
            name = shown(file.relative_to(self._root))
            split, row = _split_of(file, self._root), 0
            for batch in read_batches(file, self._columns.names, _ROWS_AT_ONCE):
                contents = self._contents(batch.column(self._columns.content))
                labels = batch.column(self._columns.label).to_pylist()
                domains = batch.column(self._columns.domain).to_pylist() if self._columns.domain else [""] * len(labels)
                for content, label, domain in zip(contents, labels, domains, strict=True):
                    ids = label_of.get(label, NO_LABEL), domain_of.get(domain, NO_LABEL)
                    yield self._item(content, *ids, f"{name}#{row}", split)
                    row += 1

    def _contents(self, column: pa.Array) -> list[Any]:
        if self.kind == "images":
            return list(column.to_pylist())
        return [row.values.to_numpy(zero_copy_only=False) if row.is_valid else None for row in column]

    def _item(self, content: Any, label: int, domain: int, path: str, split: str) -> Item:
        if isinstance(content, dict):
            path += f":{content['path']}" if content.get("path") else ""
            content = content.get("bytes")
        if content is None:
            fault = "the row holds no bytes; fetch the file again" if self.kind == "images" else "the row is empty"
            return Item(b"", NO_LABEL, NO_LABEL, path, split, fault)
        return Item(content, label, domain, path, split)


def _domains_from_places(files: Sequence[Path], root: Path) -> Values:
    """The folder below `root` that each file lies in is its domain, once splits and what all share are left out.

    Or the first part of its name, where the hubs write the split: art-00000-of-00003.parquet.
    """
    places = [[p for p in file.relative_to(root).parts[:-1] if p.lower() not in SPLITS] for file in files]
    while all(places) and len({place[0] for place in places}) == 1 and any(len(place) > 1 for place in places):
        places = [place[1:] for place in places]
    parts = [match[1] if (match := _SHARD.fullmatch(file.name)) else "" for file in files]
    if len({tuple(place) for place in places}) == 1 and all(part and part.lower() not in SPLITS for part in parts):
        places = [[part] for part in parts]
    advice = (
        f"name a column of domains one of {', '.join(ColumnNames.DOMAIN)}, or put the files of each domain into a "
        "folder named for it"
    )
    for file, place in zip(files, places, strict=True):
        if len(place) != 1:
            where = f"several folders ({'/'.join(place)})" if place else "no folder of a domain"
            raise UserError(f"{shown(file)} has no column of domains, and lies in {where}; {advice}")
    names = sorted({clean_name(place[0]) for place in places})
    if len(names) < 2:
        raise UserError(f"{shown(files[0])} has no column of domains, and all files lie in one folder; {advice}")
    indices: list[dict[Any, int]] = [{"": names.index(clean_name(place[0]))} for place in places]
    return Values(names=tuple(names), indices=indices, num_rows=0)


def _split_of(file: Path, root: Path) -> str:
    """`train` of train-00000-of-00003.parquet or of train/0000.parquet."""
    parts = [file.name.split("-")[0].split(".")[0], *file.relative_to(root).parts[:-1]]
    return next((part for part in parts if part.lower() in SPLITS), "")


def _vector_form(files: Sequence[Path], column: str) -> tuple[tuple[int, ...], str]:
    """Length of the first row that has features; float16 if all files hold that, else float32."""
    length, halves = 0, []
    for file in files:
        for batch in read_batches(file, [column], 1):
            values = batch.column(0)
            halves.append(pa.types.is_float16(values.type.value_type))
            if values[0].is_valid:
                length = length or len(values[0])
                break
    if not length:
        raise UserError(f"{shown(files[0])}: column {column} is empty; write a list of numbers in each row")
    return (length,), "float16" if all(halves) else "float32"
