"""The columns of Parquet files: which hold what, and what the numbers in them mean, file by file."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ndcl.data.importing.labels import Form, naming, require_distinct
from ndcl.data.importing.names import clean_name, joined, shown
from ndcl.errors import UserError

_LABELS_AT_ONCE = 2**16


class ColumnNames:
    """What the columns may be called; the first that there is counts."""

    IMAGE = ("image", "img")
    FEATURES = ("features", "feature", "embedding", "embeddings")
    LABEL = ("label", "labels", "class", "target")
    DOMAIN = ("domain", "domains", "environment", "env")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns that are read, by name."""

    content: str
    label: str
    domain: str
    """Empty if there is none."""

    @property
    def is_features(self) -> bool:
        """Whether rows are vectors, not images."""
        return self.content in ColumnNames.FEATURES

    @property
    def names(self) -> list[str]:
        """Of all columns that there are."""
        return [name for name in (self.content, self.label, self.domain) if name]


@dataclass(frozen=True, kw_only=True)
class Values:
    """What stands in a label or domain column of some files."""

    names: tuple[str, ...]
    """Of the classes or domains, in order."""
    indices: list[dict[Any, int]]
    """Of each file: the index in `names` that each of its values has. A value that is no label is not there."""
    num_rows: int
    remarks: tuple[str, ...] = ()


def columns_of(files: Sequence[Path]) -> Columns:
    """The columns of all files. Raises UserError if a file lacks one, has others than the first, or other types."""
    schemas = [_opened(file).schema_arrow for file in files]
    found = [_columns(file, schema) for file, schema in zip(files, schemas, strict=True)]
    for file, columns in zip(files, found, strict=True):
        if columns != found[0]:
            raise UserError(
                f"{shown(file)} has the columns {', '.join(columns.names)}, and {shown(files[0])} has "
                f"{', '.join(found[0].names)}; import files of one data set only"
            )
    return found[0]


def labels_of(files: Sequence[Path], column: str, what: str, given: Sequence[str]) -> Values:
    """What the values of a label or domain column mean: by `given`, else by each file's own names, else themselves.

    Raises UserError for a number that has no name, and for files of which one names its numbers and another does not.
    """
    require_distinct(f"the {what} names given", given)
    read = [_labels_in(file, column, what, given) for file in files]
    _require_one_meaning(files, read, column, what)
    if given:
        _require_among(files, read, column, what, given)
    ordered, remarks = _ordered(files, read, what, given)
    index = {name: number for number, name in enumerate(ordered)}
    texts = [value for labels in read if labels.form == "text" for value in labels.name_of]
    return Values(
        names=tuple(ordered),
        indices=[{value: index[name] for value, name in labels.name_of.items()} for labels in read],
        num_rows=sum(labels.num_rows for labels in read),
        remarks=(*remarks, *joined(what, texts)),
    )


def read_batches(file: Path, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """The rows of some columns, `rows` at a time. Raises UserError for a damaged file."""
    try:
        yield from pq.ParquetFile(file).iter_batches(batch_size=rows, columns=list(columns))
    except (pa.ArrowException, OSError) as error:
        raise _damaged(file, error) from None


@dataclass(frozen=True, kw_only=True)
class _Labels:
    """What one file's column holds."""

    form: Form
    name_of: dict[Any, str]
    listed: list[str]
    """The names of the numbers 0, 1, ..., if the column holds numbers that have names."""
    num_rows: int


def _labels_in(file: Path, column: str, what: str, given: Sequence[str]) -> _Labels:
    where = f"{shown(file)}: column {column}"
    names = list(given) or _names_in(file, column)
    require_distinct(f"{where}: its names", names)
    values: dict[Any, None] = {}
    num_rows = 0
    for batch in read_batches(file, [column], _LABELS_AT_ONCE):
        values.update(dict.fromkeys(batch.column(0).to_pylist()))
        num_rows += len(batch)
    form, name_of = naming(where, what, values, names)
    return _Labels(form=form, name_of=name_of, listed=list(map(clean_name, names)), num_rows=num_rows)


def _require_one_meaning(files: Sequence[Path], read: Sequence[_Labels], column: str, what: str) -> None:
    """Raise UserError for numbers without names beside names: they might be any of them."""
    forms = [labels.form for labels in read]
    if "numbers" not in forms or not {"named", "text"} & set(forms):
        return
    without = files[forms.index("numbers")]
    other = next(file for file, form in zip(files, forms, strict=True) if form in ("named", "text"))
    option = "--classes" if what == "class" else "--domains"
    raise UserError(
        f"column {column} holds {what} numbers without names in {shown(without)}, and names in {shown(other)}; name "
        f"the numbers by {option} A,B,..., or in the file"
    )


def _require_among(
    files: Sequence[Path], read: Sequence[_Labels], column: str, what: str, given: Sequence[str]
) -> None:
    names = set(map(clean_name, given))
    for file, labels in zip(files, read, strict=True):
        unknown = sorted(set(labels.name_of.values()) - names)
        if unknown:
            raise UserError(
                f"{shown(file)}: column {column} holds the {what} '{unknown[0]}', which is not among the names given"
            )


def _ordered(
    files: Sequence[Path], read: Sequence[_Labels], what: str, given: Sequence[str]
) -> tuple[list[str], tuple[str, ...]]:
    """All names: as all files list them, else sorted as text; numbers as numbers. And a remark, if lists differ."""
    name_of = {value: name for labels in read for value, name in labels.name_of.items()}
    if any(labels.form == "numbers" for labels in read):
        return [name_of[value] for value in sorted(name_of)], ()
    used = {name for labels in read for name in labels.name_of.values()} | set(map(clean_name, given))
    named = [number for number, labels in enumerate(read) if labels.form == "named"]
    if not named:
        return sorted(used), ()
    lists = [read[number].listed for number in named]
    odd = next((number for number, listed in enumerate(lists) if listed != lists[0]), None)
    if odd is None and used <= set(lists[0]):
        return lists[0], ()
    everything = sorted(used.union(*lists))
    if odd is None:
        return everything, ()
    pair = f"{shown(files[named[0]])} and {shown(files[named[odd]])}"
    return everything, (f"{pair} number their {what} names differently; each file is read by its own",)


def _columns(file: Path, schema: pa.Schema) -> Columns:
    columns = Columns(
        content=_column(file, schema, ColumnNames.IMAGE + ColumnNames.FEATURES, "images or features"),
        label=_column(file, schema, ColumnNames.LABEL, "labels"),
        domain=_column(file, schema, ColumnNames.DOMAIN, ""),
    )
    _require_type(file, schema.field(columns.content).type, columns)
    for name in filter(None, (columns.label, columns.domain)):
        if pa.types.is_nested(schema.field(name).type):
            raise UserError(f"{shown(file)}: column {name} is of {schema.field(name).type}, not text or whole numbers")
    return columns


def _column(file: Path, schema: pa.Schema, names: Sequence[str], what: str) -> str:
    """The first of `names` that there is; none is an error if `what` must be there."""
    for name in names:
        if name in schema.names:
            return name
    if not what:
        return ""
    raise UserError(
        f"no column of {what} in {shown(file)}: it has {', '.join(schema.names)}; name it one of {', '.join(names)}"
    )


def _require_type(file: Path, kind: pa.DataType, columns: Columns) -> None:
    """Raise UserError for images that are no bytes, and features that are no lists of numbers."""
    types = pa.types
    if columns.is_features:
        is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
        is_right = is_list and (types.is_floating(kind.value_type) or types.is_integer(kind.value_type))
        expected = "a list of numbers"
    else:
        held = kind.field("bytes").type if types.is_struct(kind) and kind.get_field_index("bytes") >= 0 else kind
        is_right = types.is_binary(held) or types.is_large_binary(held)
        expected = "bytes of an image file, or a struct of `bytes` and `path`"
    if not is_right:
        raise UserError(f"{shown(file)}: column {columns.content} is of {kind}; each row must hold {expected}")


def _opened(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(file, error) from None


def _damaged(file: Path, error: Exception) -> UserError:
    reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
    return UserError(f"{shown(file)} can't be read as Parquet ({reason}); fetch it again")


def _names_in(file: Path, column: str) -> list[str]:
    """Names of a ClassLabel column, from the `huggingface` metadata; no metadata is no names."""
    try:
        metadata = json.loads((_opened(file).schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
        feature = metadata.get("info", {}).get("features", {}).get(column, {})
        return [str(name) for name in feature.get("names") or ()]
    except (ValueError, AttributeError, TypeError):
        raise UserError(
            f"{shown(file)}: the schema's `huggingface` metadata can't be read; fetch the file again"
        ) from None
