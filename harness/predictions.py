"""Predictions as people and programs take them: a table in the terminal, or a file written part by part."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from rich.table import Table

from ndcl.errors import UserError

if TYPE_CHECKING:
    from ndcl.serving.streaming import Part

SCHEMA = pa.schema(
    {
        "image": pa.string(),
        "class": pa.string(),
        "class_id": pa.int64(),
        "probability": pa.float32(),
        "margin": pa.float32(),
    }
)
SUFFIXES = (".csv", ".parquet")


def rows_of(part: "Part") -> pa.RecordBatch:
    """A row of SCHEMA for each image that could be read."""
    predictions = part.predictions
    columns = [
        list(map(str, part.paths)),
        predictions.names,
        predictions.class_ids,
        predictions.confidences,
        predictions.margins,
    ]
    return pa.record_batch([pa.array(column, kind) for column, kind in zip(columns, SCHEMA.types, strict=True)], SCHEMA)


@contextmanager
def written_to(path: Path) -> Iterator[Any]:
    """A writer whose `write_batch` takes what `rows_of` makes; the file appears at the end, whole or not at all.

    Raises UserError if the file can't be written, or its name tells no format.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"--output {path}: its name must end in {' or '.join(SUFFIXES)}")
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _writer(partial, path.suffix) as writer:
                yield writer
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"--output {path}: it can't be written ({error.strerror}); give another place") from None


def _writer(path: Path, suffix: str) -> Any:
    if suffix == ".csv":
        from pyarrow.csv import CSVWriter

        return CSVWriter(path, SCHEMA)
    from pyarrow.parquet import ParquetWriter

    return ParquetWriter(path, SCHEMA)


def table_of(batches: Sequence[pa.RecordBatch], num_rows: int) -> Table:
    """The first `num_rows` rows, for a terminal."""
    table = Table("image", "class")
    table.columns[0].overflow = "fold"
    for name in ("probability", "margin"):
        table.add_column(name, justify="right")
    for row in pa.Table.from_batches(batches, SCHEMA).slice(0, num_rows).to_pylist():
        table.add_row(row["image"], row["class"], f"{row['probability']:.3f}", f"{row['margin']:.3f}")
    return table
