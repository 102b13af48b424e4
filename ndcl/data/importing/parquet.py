"""Parquet as on the public hubs: one row an image or a feature vector, with its label and domain."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ndcl.data.importing.folders import shown
from ndcl.data.importing.source import SPLITS, Item, SourceKind
from ndcl.errors import UserError

IMAGE_COLUMNS = ("image", "img")
FEATURE_COLUMNS = ("features", "feature", "embedding", "embeddings")
LABEL_COLUMNS = ("label", "labels", "class", "target")
DOMAIN_COLUMNS = ("domain", "domains", "environment", "env")
_ROWS_AT_ONCE = 64
_LABELS_AT_ONCE = 2**16


class ParquetSource:
    """The rows of all files, in order of file name.

    Names of classes and domains come from the schema's `huggingface` metadata, else from `classes` and `domains`, else
    from the column itself: text is sorted, numbers become their own names. With no domain column, the folder that a
    file lies in is its domain.
    """

    kind: SourceKind

    def __init__(
        self, files: Sequence[Path], *, root: Path, classes: Sequence[str] = (), domains: Sequence[str] = ()
    ) -> None:
        """Raises UserError for files that can't be read, columns that are missing, and numbers without a name."""
        self._files = sorted(files)
        self._root = root
        schema = _schema(self._files)
        self._content = _column(schema, IMAGE_COLUMNS + FEATURE_COLUMNS, "images or features")
        self._label = _column(schema, LABEL_COLUMNS, "labels")
        self._domain = _column(schema, DOMAIN_COLUMNS, "") or None
        columns = [self._label, *([self._domain] if self._domain else [])]
        seen = _values(self._files, columns)
        named = _class_names(schema)
        self.classes, self._label_of = _naming("class", self._label, seen[self._label], named, classes)
        if self._domain:
            self.domains, self._domain_of = _naming("domain", self._domain, seen[self._domain], named, domains)
        else:
            self.domains, self._domain_of = _domains_from_folders(self._files, root)
        self._num_rows = seen[self._label].total()
        is_features = self._content in FEATURE_COLUMNS
        self.kind = "vectors" if is_features else "images"
        self.shape: tuple[int, ...] | None = None
        self.dtype = "uint8"
        if is_features:
            self.shape, self.dtype = _vector_form(self._files[0], self._content)

    def __len__(self) -> int:
        return self._num_rows

    def items(self) -> Iterator[Item]:
        """One item a row."""
        columns = [self._content, self._label, *([self._domain] if self._domain else [])]
        for file in self._files:
            name = shown(file.relative_to(self._root))
            split, row = _split_of(file, self._root), 0
            for batch in _batches(file, columns):
                contents = self._contents(batch.column(self._content))
                labels = batch.column(self._label).to_pylist()
                domains = batch.column(self._domain).to_pylist() if self._domain else [_folder(file)] * len(labels)
                for content, label, domain in zip(contents, labels, domains, strict=True):
                    yield self._item(content, label, domain, f"{name}#{row}", split)
                    row += 1

    def _contents(self, column: pa.Array) -> list[Any]:
        if self.kind == "images":
            return list(column.to_pylist())
        rows = [row.values.to_numpy(zero_copy_only=False) if row.is_valid else None for row in column]
        return [None if row is None else row.astype(self.dtype) for row in rows]

    def _item(self, content: Any, label: Any, domain: Any, path: str, split: str) -> Item:
        fault = ""
        if isinstance(content, dict):
            path += f":{content['path']}" if content.get("path") else ""
            content = content.get("bytes")
        if content is None:
            fault = "the row holds no bytes; fetch the file again" if self.kind == "images" else "the row is empty"
        elif self.kind == "vectors" and content.shape != self.shape:
            fault = f"has {content.size} features, the first row {self.shape[0] if self.shape else 0}"
        elif self.kind == "vectors" and not np.isfinite(content).all():
            fault = "has features that are no finite numbers"
        elif label not in self._label_of:
            fault = "has no label"
        elif domain not in self._domain_of:
            fault = "has no domain"
        if fault:
            return Item(b"", -1, -1, path, split, fault)
        return Item(content, self._label_of[label], self._domain_of[domain], path, split)


def find_parquet(folder: Path) -> list[Path]:
    """All Parquet files below a folder, in order."""
    return sorted(path for path in folder.rglob("*.parquet") if not path.name.startswith("."))


def _schema(files: Sequence[Path]) -> pa.Schema:
    """Of the first file; all must have its columns."""
    schemas = [_opened(file).schema_arrow for file in files]
    for file, schema in zip(files, schemas, strict=True):
        if schema.names != schemas[0].names:
            raise UserError(
                f"{shown(file)} has the columns {', '.join(schema.names)}, and {shown(files[0])} has "
                f"{', '.join(schemas[0].names)}; import files of one data set only"
            )
    return schemas[0]


def _opened(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(file, error) from None


def _batches(file: Path, columns: Sequence[str], rows: int = _ROWS_AT_ONCE) -> Iterator[pa.RecordBatch]:
    try:
        yield from pq.ParquetFile(file).iter_batches(batch_size=rows, columns=list(columns))
    except (pa.ArrowException, OSError) as error:
        raise _damaged(file, error) from None


def _damaged(file: Path, error: Exception) -> UserError:
    reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
    return UserError(f"{shown(file)} can't be read as Parquet ({reason}); fetch it again")


def _column(schema: pa.Schema, names: Sequence[str], what: str) -> str:
    """The first of `names` that there is; none is an error if `what` must be there."""
    for name in names:
        if name in schema.names:
            return name
    if not what:
        return ""
    raise UserError(f"no column of {what}: the file has {', '.join(schema.names)}; name it one of {', '.join(names)}")


def _values(files: Sequence[Path], columns: Sequence[str]) -> dict[str, Counter[Any]]:
    """How often each value stands in each column, over all files."""
    counts: dict[str, Counter[Any]] = {column: Counter() for column in columns}
    for file in files:
        for batch in _batches(file, columns, _LABELS_AT_ONCE):
            for column in columns:
                counts[column].update(batch.column(column).to_pylist())
    return counts


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of each ClassLabel column, from the `huggingface` metadata; no metadata is no names."""
    try:
        metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = metadata.get("info", {}).get("features", {})
        return {name: list(feature["names"]) for name, feature in features.items() if "names" in feature}
    except (ValueError, AttributeError, TypeError):
        raise UserError("the schema's `huggingface` metadata can't be read; fetch the file again") from None


def _naming(
    kind: str, column: str, counts: Counter[Any], named: dict[str, list[str]], given: Sequence[str]
) -> tuple[tuple[str, ...], dict[Any, int]]:
    """The names of a column's values, and the index of each value; -1 and null have none."""
    values = [value for value in counts if value is not None and value != -1]
    if values and all(isinstance(value, str) for value in values):
        names = sorted(given) if given else sorted(values)
        unknown = sorted(set(values) - set(names))
        if unknown:
            raise UserError(f"column {column} holds the {kind} '{unknown[0]}', which is not among the names given")
        return tuple(names), {name: names.index(name) for name in values}
    if not all(isinstance(value, int) for value in values):
        raise UserError(f"column {column} must hold text or whole numbers, not {type(values[0]).__name__}")
    numbered = list(given) or named.get(column) or []
    if not numbered:
        return tuple(map(str, sorted(values))), {value: index for index, value in enumerate(sorted(values))}
    if (values and max(values) >= len(numbered)) or any(value < 0 for value in values):
        raise UserError(
            f"column {column} holds {kind} numbers from {min(values)} to {max(values)}, and {len(numbered)} names were "
            "given; give one for each number from 0"
        )
    return tuple(numbered), {value: value for value in values}


def _domains_from_folders(files: Sequence[Path], root: Path) -> tuple[tuple[str, ...], dict[Any, int]]:
    names = sorted({_folder(file) for file in files})
    if len(names) < 2 or any(file.parent == root for file in files):
        raise UserError(
            f"no column of domains: name it one of {', '.join(DOMAIN_COLUMNS)}, or put the files of each domain into a "
            "folder named for it"
        )
    return tuple(names), {name: index for index, name in enumerate(names)}


def _folder(file: Path) -> str:
    return file.parent.name


def _split_of(file: Path, root: Path) -> str:
    """`train` of train-00000-of-00003.parquet or of train/0000.parquet."""
    parts = [file.name.split("-")[0].split(".")[0], *file.relative_to(root).parts[:-1]]
    return next((part for part in parts if part.lower() in SPLITS), "")


def _vector_form(file: Path, column: str) -> tuple[tuple[int, ...], str]:
    """Shape and type of the first row that has features."""
    for batch in _batches(file, [column], 1):
        values = batch.column(0)
        if values[0].is_valid:
            is_half = pa.types.is_float16(values.type.value_type)
            return (len(values[0]),), "float16" if is_half else "float32"
    raise UserError(f"column {column} of {shown(file)} is empty")
