"""A .npz file of arrays: x (images or vectors), y (labels), d (domains), and names if labels are numbers."""

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ndcl.data.importing.labels import NO_LABEL, naming, require_distinct
from ndcl.data.importing.names import joined
from ndcl.data.importing.source import Item, SourceKind
from ndcl.errors import UserError

_ROWS_AT_ONCE = 256
_EXPECTED = "x [n, H, W, 3] or [n, H, W] of uint8, or [n, F] of floats; y [n] and d [n] of whole numbers or text"


class ArraySource:
    """`x` is read in pieces, in order. Arrays `classes` and `domains` may name the numbers of `y` and `d`."""

    kind: SourceKind
    shape: tuple[int, ...] | None
    remarks: tuple[str, ...] = ()

    def __init__(self, file: Path, *, classes: Sequence[str] = (), domains: Sequence[str] = ()) -> None:
        """Raises UserError if the file can't be read or its arrays do not fit together."""
        self._file = file
        stored = _small_arrays(file)
        shape, dtype = _header(file)
        self._num = shape[0]
        self.kind, self.shape, self.dtype = _form(file, shape, dtype)
        self.classes, self._labels = self._named("y", "class", stored, classes or _names(file, stored, "classes"))
        self.domains, self._domain_ids = self._named("d", "domain", stored, domains or _names(file, stored, "domains"))

    def __len__(self) -> int:
        return self._num

    def items(self) -> Iterator[Item]:
        """One item a row of x."""
        for index, row in enumerate(_rows(self._file)):
            content = row if self.kind == "vectors" else _in_colour(row)
            label, domain = int(self._labels[index]), int(self._domain_ids[index])
            yield Item(content, label, domain, f"{self._file.name}#{index}")

    def _named(
        self, array: str, what: str, stored: dict[str, NDArray[Any]], names: Sequence[str]
    ) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """The names in order, and each row's index."""
        where, values = f"{self._file}: {array}", stored[array]
        if values.shape != (self._num,):
            raise UserError(f"{where} is {list(values.shape)} and x has {self._num} rows; they must match")
        if values.dtype.kind not in "USiu":
            raise UserError(f"{where} is of {values.dtype}; expected {_EXPECTED}")
        require_distinct(f"{where}: its names", names)
        found, places = np.unique(_text(where, values), return_inverse=True)
        form, name_of = naming(where, what, found.tolist(), names)
        if form == "named":
            ordered = tuple(names)
        else:  # numbers stay in the order of `found`
            self.remarks += tuple(joined(what, [value for value in name_of if isinstance(value, str)]))
            cleaned = [name_of[value] for value in found.tolist() if value in name_of]
            ordered = tuple(dict.fromkeys(sorted(cleaned) if form == "text" else cleaned))
        indices = [ordered.index(name_of[value]) if value in name_of else NO_LABEL for value in found.tolist()]
        return ordered, np.array(indices, np.int64)[places]


def _small_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """All arrays but x."""
    with _readable(file), np.load(file, allow_pickle=False) as arrays:
        missing = [name for name in ("x", "y", "d") if name not in arrays]
        if missing:
            raise UserError(f"{file} has no array {missing[0]}, only {', '.join(arrays)}; expected {_EXPECTED}")
        return {name: arrays[name] for name in ("y", "d", "classes", "domains") if name in arrays}


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Turn what a damaged file makes numpy and zipfile raise, which is nearly anything, into one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise UserError(f"{file} can't be read as .npz ({reason}); make it anew, with {_EXPECTED}") from None


def _header(file: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with _readable(file), zipfile.ZipFile(file) as archive, archive.open("x.npy") as member:
        shape, _, dtype = _read_header(member)
        return shape, dtype


def _read_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is in Fortran order, and type."""
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(member)
    return shape, is_fortran, dtype


def _form(file: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[SourceKind, tuple[int, ...], str]:
    """Kind, shape of one input, and its type in the store."""
    if 0 in shape:
        raise UserError(f"{file}: x is {list(shape)} and holds nothing; expected {_EXPECTED}")
    if dtype == np.uint8 and (len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)):
        return "pixels", (*shape[1:3], 3), "uint8"
    if dtype.kind == "f" and len(shape) == 2:
        return "vectors", shape[1:], "float16" if dtype == np.float16 else "float32"
    raise UserError(f"{file}: x is {list(shape)} of {dtype}; expected {_EXPECTED}")


def _names(file: Path, stored: dict[str, NDArray[Any]], array: str) -> list[str]:
    """The names that an array holds; none if it is not there."""
    if array not in stored:
        return []
    names = stored[array]
    if names.ndim != 1 or names.dtype.kind not in "USiu":
        raise UserError(f"{file}: {array} is {list(names.shape)} of {names.dtype}; expected a list of names")
    return [str(name) for name in _text(f"{file}: {array}", names).tolist()]


def _text(where: str, values: NDArray[Any]) -> NDArray[Any]:
    """Bytes as text; numbers and text as they are."""
    if values.dtype.kind != "S":
        return values
    try:
        return np.char.decode(values, "utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{where} holds bytes that are no UTF-8 text; store it as text") from None


def _rows(file: Path) -> Iterator[NDArray[Any]]:
    with _readable(file), zipfile.ZipFile(file) as archive, archive.open("x.npy") as member:
        shape, is_fortran, dtype = _read_header(member)
        if is_fortran:  # rows do not lie together: the whole array is needed
            with np.load(file, allow_pickle=False) as arrays:
                yield from arrays["x"]
            return
        row_bytes = int(np.prod(shape[1:])) * dtype.itemsize
        for start in range(0, shape[0], _ROWS_AT_ONCE):
            rows = min(_ROWS_AT_ONCE, shape[0] - start)
            yield from np.frombuffer(member.read(rows * row_bytes), dtype).reshape(rows, *shape[1:])
        if member.read(1):  # reading to the end compares the checksum, too
            raise ValueError("x holds more bytes than its shape takes")


def _in_colour(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
