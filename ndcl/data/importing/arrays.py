"""A .npz file of arrays: x (images or vectors), y (labels), d (domains), and names if labels are numbers."""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ndcl.data.importing.source import Item, SourceKind
from ndcl.errors import UserError

_ROWS_AT_ONCE = 256
_EXPECTED = "x [n, H, W, 3] or [n, H, W] of uint8, or [n, F] of floats; y [n] and d [n] of whole numbers or text"


class ArraySource:
    """`x` is read in pieces, in order. Arrays `classes` and `domains` may name the numbers of `y` and `d`."""

    kind: SourceKind
    shape: tuple[int, ...] | None

    def __init__(self, file: Path, *, classes: Sequence[str] = (), domains: Sequence[str] = ()) -> None:
        """Raises UserError if the file can't be read or its arrays do not fit together."""
        self._file = file
        stored = _small_arrays(file)
        shape, dtype = _header(file)
        self._num = shape[0]
        self.kind, self.shape, self.dtype = _form(shape, dtype)
        names = list(classes) or stored.get("classes", np.array([])).tolist()
        self.classes, self._labels = _named("y", stored["y"], names, self._num)
        names = list(domains) or stored.get("domains", np.array([])).tolist()
        self.domains, self._domain_ids = _named("d", stored["d"], names, self._num)

    def __len__(self) -> int:
        return self._num

    def items(self) -> Iterator[Item]:
        """One item a row of x."""
        for index, row in enumerate(_rows(self._file)):
            content = row if self.kind == "vectors" else _in_colour(row)
            label, domain = int(self._labels[index]), int(self._domain_ids[index])
            yield Item(content.astype(self.dtype), label, domain, f"{self._file.name}#{index}")


def _small_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """All arrays but x."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            missing = [name for name in ("x", "y", "d") if name not in arrays]
            if missing:
                raise UserError(f"{file} has no array {missing[0]}, only {', '.join(arrays)}; expected {_EXPECTED}")
            return {name: arrays[name] for name in ("y", "d", "classes", "domains") if name in arrays}
    except UserError:
        raise
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{file} can't be read as .npz ({str(error).splitlines()[0]}); expected {_EXPECTED}") from None


def _header(file: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with zipfile.ZipFile(file) as archive, archive.open("x.npy") as member:
        shape, _, dtype = _read_header(member)
        return shape, dtype


def _read_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is in Fortran order, and type."""
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(member)
    return shape, is_fortran, dtype


def _form(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[SourceKind, tuple[int, ...], str]:
    """Kind, shape of one input, and its type in the store."""
    if dtype == np.uint8 and (len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)):
        return "pixels", (*shape[1:3], 3), "uint8"
    if dtype.kind == "f" and len(shape) == 2:
        return "vectors", shape[1:], "float16" if dtype == np.float16 else "float32"
    raise UserError(f"x is {list(shape)} of {dtype}; expected {_EXPECTED}")


def _named(
    array: str, values: NDArray[Any], names: Sequence[str], num: int
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The names in order, and each row's index."""
    if values.shape != (num,):
        raise UserError(f"{array} is {list(values.shape)} and x has {num} rows; they must match")
    if values.dtype.kind in "US":
        found, indices = np.unique(values.astype(str), return_inverse=True)
        return tuple(found.tolist()), indices.astype(np.int64)
    if values.dtype.kind not in "iu":
        raise UserError(f"{array} is of {values.dtype}; expected {_EXPECTED}")
    if not len(names):
        numbers, indices = np.unique(values, return_inverse=True)
        return tuple(map(str, numbers.tolist())), indices.astype(np.int64)
    if num and not 0 <= values.min() <= values.max() < len(names):
        raise UserError(
            f"{array} holds numbers from {values.min()} to {values.max()}, and {len(names)} names were given; "
            "give one for each number from 0"
        )
    return tuple(map(str, names)), values.astype(np.int64)


def _rows(file: Path) -> Iterator[NDArray[Any]]:
    with zipfile.ZipFile(file) as archive, archive.open("x.npy") as member:
        shape, is_fortran, dtype = _read_header(member)
        if is_fortran:  # rows do not lie together: the whole array is needed
            with np.load(file, allow_pickle=False) as arrays:
                yield from arrays["x"]
            return
        row_bytes = int(np.prod(shape[1:])) * dtype.itemsize
        for start in range(0, shape[0], _ROWS_AT_ONCE):
            rows = min(_ROWS_AT_ONCE, shape[0] - start)
            yield from np.frombuffer(member.read(rows * row_bytes), dtype).reshape(rows, *shape[1:])


def _in_colour(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
