"""A data set on disk, opened for reading: memory-mapped, so that all trials of a machine share its pages.

Another data set may take its name while it is open: all files are mapped from the start, so that it stays what it was.

Legend: n images of H x W pixels, F features. The files' form is described in `ndcl.data.store.format`.
"""

import contextlib
import mmap
import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ndcl.architectures import Interpolation
from ndcl.data.store.format import (
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
        """Map all files and read the index alone; inputs are read when first asked for.

        Raises UserError if `folder` holds no data set, or one with files that are missing or cut off.
        """
        self._index, self.header, shards = _opened(folder)
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
        self._inputs = _Inputs(folder, self.header, shards or [table], len(table))

    def __len__(self) -> int:
        return len(self.labels)

    def __reduce__(self) -> tuple[Any, tuple[Path, str]]:
        """Pickled by its folder and digest: another process maps the same files, or raises UserError."""
        return reopened, (self.folder, self.digest)

    def inputs(self, indices: NDArray[np.int64]) -> "torch.Tensor":
        """The inputs at `indices` [m]: uint8 [m, H, W, 3] for images, float32 [m, F] for vectors.

        Encoded images are decoded and, where they have another size, resized to `input_shape`.
        """
        import torch  # slow to import, and not needed to plan or to count

        if self.kind == "encoded":
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


def reopened(folder: Path, digest: str) -> Store:
    """The store of this digest. Raises UserError if another one lies in `folder` now."""
    store = Store(folder)
    if store.digest != digest:
        raise UserError(f"the data set in {folder} was replaced while it was in use; start again")
    return store


def is_store(folder: Path) -> bool:
    """Whether `folder` holds a data set (a whole one: it is never visible before it is complete)."""
    return (folder / FILE_NAME).is_file()


class _Inputs:
    """The inputs of a store: chunks (record batches) of shards that are read when first used."""

    def __init__(self, folder: Path, header: Header, files: list[mmap.mmap | pa.Table], num_rows: int) -> None:
        """`files` are the shards; of format 1 the index's table."""
        self._folder, self._header, self._files = folder, header, files
        rows = [rows for rows, _ in header.shards] or [num_rows]
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
        for number in range(len(self._files)):
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
            file = self._files[number]
            table = file if isinstance(file, pa.Table) else _table(self._folder, file)
            columns = table["input"].chunks
            first_rows = np.cumsum([0, *map(len, columns)], dtype=np.int64)[:-1]
            self._shards[number] = first_rows, [rows_of(column, self._header) for column in columns]
        return self._shards[number]


def _opened(folder: Path) -> tuple[Any, Header, list[mmap.mmap | pa.Table]]:
    """The index, the header and the shards, all of the same folder, even if it is replaced meanwhile."""
    while True:
        with _directory(folder) as directory:
            try:
                index = _arrow(folder, _mapped(directory, folder, FILE_NAME))
                header = read_header(index.schema, folder)
                return index, header, [_shard(directory, folder, header, n) for n in range(len(header.shards))]
            except UserError:
                if not _is_replaced(folder, directory):
                    raise


@contextlib.contextmanager
def _directory(folder: Path) -> Iterator[int]:
    """A descriptor that stands for the folder, whatever becomes of its name."""
    try:
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(folder, FILE_NAME) from None
    try:
        yield directory
    finally:
        os.close(directory)


def _is_replaced(folder: Path, directory: int) -> bool:
    """Whether the name stands for another folder by now."""
    try:
        return not os.path.samestat(folder.stat(), os.fstat(directory))
    except FileNotFoundError:
        return False


def _mapped(directory: int, folder: Path, name: str) -> mmap.mmap:
    """A file of the folder, of which nothing is read yet."""
    try:
        descriptor = os.open(name, os.O_RDONLY, dir_fd=directory)
    except FileNotFoundError:
        raise _missing(folder, name) from None
    try:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    except ValueError:
        raise damaged(folder, f"{name} is empty") from None
    finally:
        os.close(descriptor)


def _missing(folder: Path, name: str) -> UserError:
    return UserError(f"{folder} holds no data set ({name} is missing); import one, or give another folder")


def _shard(directory: int, folder: Path, header: Header, number: int) -> mmap.mmap:
    """A shard, whole. Raises UserError if it is missing or cut off."""
    name, (_, size) = shard_name(number), header.shards[number]
    try:
        file = _mapped(directory, folder, name)
    except UserError:
        raise damaged(folder, f"{name} has 0 of {size} bytes") from None
    if len(file) != size:
        raise damaged(folder, f"{name} has {len(file)} of {size} bytes")
    return file


def _arrow(folder: Path, file: mmap.mmap) -> Any:
    """A mapped Arrow file; only its end is read."""
    try:
        return pa.ipc.open_file(pa.py_buffer(file))
    except (pa.ArrowInvalid, OSError) as error:
        raise damaged(folder, str(error).splitlines()[0]) from None


def _table(folder: Path, file: mmap.mmap) -> pa.Table:
    """All of a mapped Arrow file, of which nothing is copied."""
    try:
        return _arrow(folder, file).read_all()
    except (pa.ArrowInvalid, OSError) as error:  # overwritten in its midst
        raise damaged(folder, str(error).splitlines()[0]) from None


def _ids(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """An int32 column. Not by `to_numpy`, which imports pandas: a second, where opening takes a millisecond."""
    parts = [np.frombuffer(part.buffers()[1], np.int32, len(part), 4 * part.offset) for part in column.chunks]
    return np.concatenate(parts).astype(np.int64)


def decoded(store: "Store", indices: NDArray[np.int64]) -> "Iterator[torch.Tensor]":
    """Pixels uint8 [3, h, w] of each encoded image at `indices`. Raises UserError, naming the image."""
    from ndcl.data.store.decoding import decode  # imports torch

    for index in indices.tolist():
        try:
            yield decode(store.encoded(index))
        except ValueError as error:
            path = (store.paths() or {index: f"number {index}"})[index]
            raise UserError(
                f"data set {store.name}: image {path} cannot be decoded ({error}); import the data set again"
            ) from None


def decode_to(
    store: "Store", indices: NDArray[np.int64], size: tuple[int, int], interpolation: Interpolation = "bilinear"
) -> "torch.Tensor":
    """The encoded images at `indices` [m], stretched to `size` (H, W): uint8 [m, H, W, 3]."""
    import torch

    from ndcl.data.store.decoding import resize

    images = torch.empty((len(indices), 3, *size), dtype=torch.uint8)
    for image, pixels in zip(images, decoded(store, indices), strict=True):
        image.copy_(resize(pixels, size, interpolation))
    return images.permute(0, 2, 3, 1)
