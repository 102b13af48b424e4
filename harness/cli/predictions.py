"""Predictions as rows: in a file, and in the terminal."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from harness.cli.options import require_suffix
from harness.terminal.legible import as_text
from harness.terminal.table import Table
from ndcl.files import clear_write_errors

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


ENSEMBLE_SCHEMA = SCHEMA.append(pa.field("disagreement", pa.float32()))
"""Of an ensemble: how far its members' answers are apart."""


REJECTED = pa.field("rejected", pa.bool_())
"""Whether the confidence is too low for the accuracy that was asked for."""


def schema_of(*, is_ensemble: bool, rejects: bool = False) -> pa.Schema:
    """Of a model's predictions."""
    schema = ENSEMBLE_SCHEMA if is_ensemble else SCHEMA
    return schema.append(REJECTED) if rejects else schema


def rows_of(part: "Part", threshold: float | None = None) -> pa.RecordBatch:
    """A row of the model's schema for each image that could be read; below the `threshold` it is rejected."""
    predictions = part.predictions
    schema = schema_of(is_ensemble=predictions.disagreement is not None, rejects=threshold is not None)
    columns = [
        [as_text(str(path)) for path in part.paths],
        [as_text(name) for name in predictions.names],
        predictions.class_ids,
        predictions.confidences,
        predictions.margins,
        *([] if predictions.disagreement is None else [predictions.disagreement]),
        *([] if threshold is None else [predictions.confidences < threshold]),
    ]
    return pa.record_batch([pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)], schema)


@contextmanager
def written_to(path: Path, schema: pa.Schema = SCHEMA) -> Iterator[Any]:
    """A writer of rows of `schema` whose `write_batch` takes what `rows_of` makes.

    The file appears at the end, whole or not at all.

    Raises UserError if the file can't be written, or its name tells no format.
    """
    require_suffix("--output", path, SUFFIXES)
    partial = path.with_name(f".{path.name}.partial")
    with clear_write_errors(f"--output {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _writer(partial, path.suffix, schema) as writer:
                yield writer
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _writer(path: Path, suffix: str, schema: pa.Schema) -> Any:
    if suffix == ".csv":
        from pyarrow.csv import CSVWriter

        return CSVWriter(path, schema)
    from pyarrow.parquet import ParquetWriter

    return ParquetWriter(path, schema)


def table_of(batches: Sequence[pa.RecordBatch], num_rows: int) -> Table:
    """The first `num_rows` rows, for a terminal."""
    table = Table()
    for name in ("image", "class"):
        table.add_column(name, "name")
    numbers = [name for name in ("probability", "margin", "disagreement") if name in batches[0].schema.names]
    for name in numbers:
        table.add_column(name)
    for row in pa.Table.from_batches(batches).slice(0, num_rows).to_pylist():
        shown = f"{row['class']} (rejected)" if row.get("rejected") else row["class"]
        table.add_row(row["image"], shown, *(f"{row[name]:.3f}" for name in numbers))
    return table
