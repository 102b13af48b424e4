"""A data set on disk, opened for reading: memory-mapped, so that all trials of a machine share its pages.

Legend: n images of H x W pixels, F features. The files' form is told in `ndcl.data.store_format`.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ndcl.data.store_format import (
    FILE_NAME,
    Header,
    content_digest,
    damaged,
    read_header,
    read_notes,
    rows_of,
    shard_name,
)
from ndcl.errors import UserError

if TYPE_CHECKING:
    import torch


class Store:
    """A data set opened for reading. Nothing is copied to memory but labels and domains."""

    def __init__(self, folder: Path) -> None:
        """Open the index alone; inputs are mapped when first asked for.

        Raises UserError if `folder` holds no data set, or one with files that are missing or cut off.
        """
        self._index = _mapped(folder, FILE_NAME)
        self.header = read_header(self._index.schema, folder)
        _require_whole(folder, self.header)
        self.folder = folder
        self.name = self.header.name
        self.classes = self.header.classes
        self.domains = self.header.domains
        self.kind = self.header.kind
        self.dtype = self.header.dtype
        self.input_shape = self.header.shape
        """Of one of `inputs`."""
        self.digest = self.header.digest
        table = self._index.read_all()
        self.labels = _ids(table["label"])
        self.domain_ids = _ids(table["domain"])
        self._inputs = _Inputs(folder, self.header, len(table))

    def __len__(self) -> int:
        return len(self.labels)

    def __reduce__(self) -> tuple[type["Store"], tuple[Path]]:
        """Pickled by its folder: another process maps the same files."""
        return Store, (self.folder,)

    def inputs(self, indices: NDArray[np.int64]) -> "torch.Tensor":
        """The inputs at `indices` [m]: uint8 [m, H, W, 3] for images, float32 [m, F] for vectors.

        Encoded images are decoded and, where they have another size, resized to `input_shape`.
        """
        import torch  # slow to import, and not needed to plan or to count

        if self.kind == "encoded":
            from ndcl.data.decoding import decode_to

            return decode_to(self, indices, (self.input_shape[0], self.input_shape[1]))
        rows = self._inputs.gather(indices)
        return torch.from_numpy(rows.astype(np.float32, copy=False) if self.kind == "vectors" else rows)

    def encoded(self, index: int) -> bytes:
        """The file of one encoded image, JPEG or PNG."""
        assert self.kind == "encoded", self.kind
        return bytes(self._inputs.row(index))

    @cached_property
    def notes(self) -> dict[str, Any]:
        """What the maker of the data set noted about it, such as the images it skipped."""
        return read_notes(self._index.schema)

    def paths(self) -> list[str] | None:
        """Where each input came from, if that is known."""
        if "path" not in self._index.schema.names:
            return None
        paths: list[str] = self._index.read_all()["path"].to_pylist()
        return paths

    def available(self) -> NDArray[np.int64]:
        """Number of images of each domain and class, [D, K]."""
        num_domains, num_classes = len(self.domains), len(self.classes)
        cells = np.bincount(self.domain_ids * num_classes + self.labels, minlength=num_domains * num_classes)
        return cells.reshape(num_domains, num_classes)

    def verify(self) -> None:
        """Read everything and compare with the digest. Raises UserError if a byte differs."""
        assert self.header.format > 1, "format 1 has a digest of another kind"
        if content_digest(self.header, self._inputs.chunks(), self.labels, self.domain_ids) != self.digest:
            raise damaged(self.folder, "its content does not have the digest it was written with")


def is_store(folder: Path) -> bool:
    """Whether `folder` holds a data set (a whole one: it is never visible before it is complete)."""
    return (folder / FILE_NAME).is_file()


class _Inputs:
    """The inputs of a store: chunks (record batches) of shards that are mapped when first used."""

    def __init__(self, folder: Path, header: Header, num_rows: int) -> None:
        self._folder, self._header = folder, header
        rows = [rows for rows, _ in header.shards] or [num_rows]
        self._names = [shard_name(number) for number in range(len(header.shards))] or [FILE_NAME]
        self._first_rows = np.concatenate([[0], np.cumsum(rows)])
        """Row at which each shard begins, and their number."""
        self._shards: dict[int, tuple[NDArray[np.int64], list[Any]]] = {}

    def gather(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Copies of the rows at `indices` [m], for arrays: [m, *shape]."""
        shards, chunks, rows = self._locate(indices)
        places = shards * (1 + chunks.max(initial=0)) + chunks
        if len(places) and (places == places[0]).all():
            return np.asarray(self._chunk(shards[0], chunks[0])[rows])
        gathered = np.empty((len(indices), *self._header.shape), self._header.dtype)
        for place in np.unique(places):
            members = np.flatnonzero(places == place)
            gathered[members] = self._chunk(shards[members[0]], chunks[members[0]])[rows[members]]
        return gathered

    def row(self, index: int) -> Any:
        """A view of one row."""
        shards, chunks, rows = self._locate(np.array([index]))
        return self._chunk(shards[0], chunks[0])[int(rows[0])]

    def chunks(self) -> Iterator[Iterable[Any]]:
        """All chunks in order."""
        for number in range(len(self._names)):
            yield from self._shard(number)[1]

    def _locate(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Shard, chunk within it and row within that, [m] each."""
        shards = np.searchsorted(self._first_rows, indices, side="right") - 1
        rows = indices - self._first_rows[shards]
        chunks = np.empty_like(rows)
        for number in np.unique(shards):
            members = shards == number
            first_rows = self._shard(number)[0]
            chunks[members] = np.searchsorted(first_rows, rows[members], side="right") - 1
            rows[members] -= first_rows[chunks[members]]
        return shards, chunks, rows

    def _chunk(self, shard: int, chunk: int) -> Any:
        return self._shard(shard)[1][chunk]

    def _shard(self, number: int) -> tuple[NDArray[np.int64], list[Any]]:
        """First row of each chunk, and the chunks."""
        if number not in self._shards:
            columns = _mapped(self._folder, self._names[number]).read_all()["input"].chunks
            first_rows = np.cumsum([0, *map(len, columns)], dtype=np.int64)[:-1]
            self._shards[number] = first_rows, [rows_of(column, self._header) for column in columns]
        return self._shards[number]


def _mapped(folder: Path, file_name: str) -> Any:
    """An Arrow file, mapped; only its end is read."""
    path = folder / file_name
    if not path.is_file():
        raise UserError(f"{folder} holds no data set ({file_name} is missing); import one, or give another folder")
    try:
        return pa.ipc.open_file(pa.memory_map(str(path)))
    except (pa.ArrowInvalid, OSError) as error:
        raise damaged(folder, str(error).splitlines()[0]) from None


def _ids(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """An int32 column. Not by `to_numpy`, which imports pandas: a second, where opening takes a millisecond."""
    parts = [np.frombuffer(part.buffers()[1], np.int32, len(part), 4 * part.offset) for part in column.chunks]
    return np.concatenate(parts).astype(np.int64)


def _require_whole(folder: Path, header: Header) -> None:
    for number, (_, num_bytes) in enumerate(header.shards):
        path = folder / shard_name(number)
        found = path.stat().st_size if path.is_file() else 0
        if found != num_bytes:
            raise damaged(folder, f"{path.name} has {found} of {num_bytes} bytes")
