"""The form of a store on disk: file names, metadata, columns and the digest of the content.

A store is a folder. `data.arrow` is its index: an Arrow IPC file with the columns `label`, `domain` and, if known,
`path`, and with the `Header` in its schema's metadata. The inputs lie in shards, `inputs-00000.arrow` and so on, each
an Arrow IPC file with the one column `input`, in the index's order. So opening a store reads the index alone.

Format 1, which older versions wrote, has all columns in `data.arrow` and no shards; it is read, no longer written.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ndcl.errors import UserError

FILE_NAME = "data.arrow"
FORMAT = 2
READABLE_FORMATS = (1, 2)
_HEADER_KEY, _NOTES_KEY = b"ndcl", b"ndcl.notes"

Kind = Literal["raw", "encoded", "vectors"]
Rows = Sequence[bytes] | NDArray[Any]
"""Inputs in their stored form: encoded images, or an array whose first dimension is the row."""
SHOWN_DIGITS = 12
"""Of a digest, in messages."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What the schema metadata say of a store."""

    name: str
    classes: tuple[str, ...]
    domains: tuple[str, ...]
    kind: Kind
    """`raw`: uint8 pixels; `encoded`: JPEG or PNG files; `vectors`: features."""
    shape: tuple[int, ...]
    """Of one input as it is delivered: (H, W, 3) for images, (F,) for vectors."""
    dtype: str
    """Of the numbers on disk: uint8, float16 or float32."""
    digest: str
    """SHA-256 of the content, see `ContentDigest`."""
    shards: tuple[tuple[int, int], ...]
    """Rows and bytes of each shard."""
    format: int = FORMAT


class ContentDigest:
    """SHA-256 of what a training sees: names, inputs, labels and domains, whatever the sharding.

    Taken over a digest of each input, so that a whole store can be hashed on several cores.
    """

    def __init__(self, header: Header) -> None:
        """For a data set with the facts of `header`; what it says of name, digest and shards is not used."""
        facts = [header.classes, header.domains, header.kind, header.shape, header.dtype]
        self._hash = hashlib.sha256(json.dumps(facts).encode())

    def update(self, row_digests: bytes) -> None:
        """Add inputs by their `digests_of_rows`."""
        self._hash.update(row_digests)

    def finish(self, labels: NDArray[np.int64], domain_ids: NDArray[np.int64]) -> str:
        """The digest in hexadecimal, given the labels [n] and domains [n] of all inputs."""
        for array in (labels, domain_ids):
            self._hash.update(np.ascontiguousarray(array, "<i8").data)
        return self._hash.hexdigest()


def short_digest(digest: str) -> str:
    """The beginning of a digest, as messages show it."""
    return digest[:SHOWN_DIGITS]


def digests_of_rows(rows: Iterable[Any]) -> bytes:
    """SHA-256 of each row, joined: 32 bytes a row."""
    return b"".join(hashlib.sha256(row).digest() for row in rows)


def content_digest(
    header: Header, chunks: Iterable[Iterable[Any]], labels: NDArray[np.int64], domain_ids: NDArray[np.int64]
) -> str:
    """The `ContentDigest` of inputs that lie in `chunks`, which are hashed on all cores."""
    digest = ContentDigest(header)
    with ThreadPoolExecutor() as pool:
        for part in pool.map(digests_of_rows, chunks):
            digest.update(part)
    return digest.finish(labels, domain_ids)


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"inputs-{number:05d}.arrow"


def file_names(header: Header) -> Iterator[str]:
    """All files of a store, the index last."""
    yield from (shard_name(number) for number in range(len(header.shards)))
    yield FILE_NAME


def metadata(header: Header, notes: dict[str, Any]) -> dict[bytes, bytes]:
    """Schema metadata of the index."""
    return {_HEADER_KEY: json.dumps(asdict(header)).encode(), _NOTES_KEY: json.dumps(notes).encode()}


def read_header(schema: pa.Schema, where: object) -> Header:
    """The header in an index's schema. Raises UserError, naming `where`, for another format or none."""
    values: dict[str, Any] = json.loads((schema.metadata or {}).get(_HEADER_KEY, b"{}"))
    if values.get("format") not in READABLE_FORMATS:
        raise damaged(where, f"its format is {values.get('format')}, this version reads {FORMAT}")
    if values["format"] == 1:
        is_image = values["kind"] == "images"
        values |= {"kind": "raw" if is_image else "vectors", "dtype": "uint8" if is_image else "float32", "shards": []}
    for key in ("classes", "domains", "shape"):
        values[key] = tuple(values[key])
    values["shards"] = tuple((int(rows), int(size)) for rows, size in values["shards"])
    return Header(**values)


def read_notes(schema: pa.Schema) -> dict[str, Any]:
    """What the maker of a store noted about it."""
    notes: dict[str, Any] = json.loads((schema.metadata or {}).get(_NOTES_KEY, b"{}"))
    return notes


def damaged(where: object, reason: str) -> UserError:
    """The error for a store that cannot be read."""
    return UserError(f"the data set in {where} cannot be read ({reason}); delete that folder and make it again")


def input_column(rows: Rows, kind: Kind) -> pa.Array:
    """Rows as an Arrow array: fixed-size binary for pixels, fixed-size lists for vectors, else binary.

    Arrays are not copied.
    """
    if kind == "encoded":
        return pa.array(rows, pa.large_binary())
    assert isinstance(rows, np.ndarray)
    size = int(np.prod(rows.shape[1:]))
    if kind == "raw":
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(size), len(rows), [None, pa.py_buffer(rows)])
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), size)


class EncodedRows:
    """Encoded images of an Arrow array, read from its memory without copies."""

    def __init__(self, column: pa.Array) -> None:
        _, offsets, values = column.buffers()
        self._offsets = np.frombuffer(offsets, np.int64, len(column) + 1, column.offset * 8)
        self._values = memoryview(values) if values is not None else memoryview(b"")

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, row: int) -> Any:
        """The bytes of one image, as a view."""
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self._values[self._offsets[row] : self._offsets[row + 1]]


def rows_of(column: pa.Array, header: Header) -> Any:
    """The inverse of `input_column`: a view over the column's memory, [m, *shape] or `EncodedRows`."""
    if header.kind == "encoded":
        return EncodedRows(column)
    buffer = (column if header.kind == "raw" else column.flatten()).buffers()[1]
    count = len(column) * int(np.prod(header.shape))
    return np.frombuffer(buffer, header.dtype, count).reshape(-1, *header.shape)
