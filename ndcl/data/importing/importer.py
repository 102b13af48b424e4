"""From a source to a store: every image looked at, converted on all cores, and what is odd listed."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ndcl.data.datasets import DATASETS
from ndcl.data.importing.content import CheckedSource, checked, warnings_of_cells
from ndcl.data.importing.conversion import Converted
from ndcl.data.importing.duplicates import Duplicate, DuplicateFinder
from ndcl.data.importing.images import DEFAULT_SIZE, Conversion, Fit, Format
from ndcl.data.importing.pool import converted, passed_on
from ndcl.data.importing.source import Source
from ndcl.data.store.format import Kind
from ndcl.data.store.store import Store, is_store
from ndcl.data.store.writer import StoreWriter, clear_store_errors, require_free
from ndcl.errors import UserError
from ndcl.names import require_name
from ndcl.processors import num_processors

MAX_NOTED_DUPLICATES = 1000
"""Groups of equal images that are kept with the data set, which is to open quickly."""


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """How an import is done."""

    size: int | None = None
    """Height and width of stored images; default: 256 for image files, as they are for arrays."""
    fit: Fit = "stretch"
    """How an image that is not square is brought to that size; see Conversion."""
    format: Format = "raw"
    """`raw` pixels or `jpeg`."""
    skip_corrupt: bool = False
    """Leave out what can't be imported, and keep the list with the data set."""
    jobs: int | None = None
    """Processes; default: one a core."""
    replace: bool = False
    """Replace the data set of this name, if there is one, once the new one is whole."""

    def __post_init__(self) -> None:
        if self.size is not None and not 8 <= self.size <= 4096:
            raise UserError(f"size: {self.size} is out of range; it must be from 8 to 4096 pixels")
        if self.jobs is not None and self.jobs < 1:
            raise UserError(f"jobs: {self.jobs} is out of range; it must be at least 1")


class BadImagesError(UserError):
    """Some items can't be imported: `bad` holds (path, reason) of each."""

    def __init__(self, bad: Sequence[tuple[str, str]], total: int, what: str = "images") -> None:
        self.bad = tuple(bad)
        path, reason = self.bad[0]
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        super().__init__(
            f"{len(bad)} of {total} {what} can't be imported: {path} {reason}{more}; mend or remove them, or leave "
            "them out with --skip-corrupt"
        )


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import has made."""

    folder: Path
    num_inputs: int
    skipped: tuple[tuple[str, str], ...]
    """(path, reason) of what was left out."""
    duplicates: tuple[Duplicate, ...]
    replaced: str | None = None
    """Digest of the data set that gave way; empty if that could not be read."""
    warnings: tuple[str, ...] = ()
    """What may make the data set another one than was meant; kept with it."""


def import_dataset(
    source: Source,
    folder: Path,
    name: str,
    options: ImportOptions,
    *,
    origin: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Imported:
    """Write `source` as the data set `name` in the data folder `folder`; it appears whole or not at all.

    `progress` gets the inputs done and their total. Starts processes: a script that calls this needs the usual
    `if __name__ == "__main__":`. Raises BadImagesError after all images were looked at, and UserError for a name that
    is taken (unless it is to be replaced), options that do not suit the source, or a disk that is too small.
    """
    _check_name(name, folder, options.replace)
    source = checked(source)
    _check_missing(source, options)
    conversion = _conversion(source, options)
    kind, shape = _form(source, conversion)
    _check_space(folder, kind, shape, source)
    bad: list[tuple[str, str]] = []
    finder = DuplicateFinder()
    done, replaced = 0, _digest_of(folder / name)
    cells: set[tuple[int, int]] = set()
    with StoreWriter(
        folder / name,
        name=name,
        classes=source.classes,
        domains=source.domains,
        kind=kind,
        shape=shape,
        dtype=source.dtype,
        replace=options.replace,
    ) as writer:
        for part in _parts(source, conversion, options):
            done += len(part.items)
            bad += [(item.path, fault) for item, fault in zip(part.items, part.faults, strict=True) if fault]
            if not bad or options.skip_corrupt:  # else nothing will be kept, but all that is bad is looked for
                cells |= _append(writer, finder, part)
            progress(done, len(source))
        if bad and (not options.skip_corrupt or len(bad) == done):
            raise BadImagesError(bad, done, "vectors" if kind == "vectors" else "images")
        duplicates = finder.find()
        warnings = (*source.warnings, *warnings_of_cells(source.domains, source.classes, cells))
        writer.notes.update(_notes(origin, conversion, bad, duplicates))
        writer.notes.update({"remarks": list(source.remarks), "warnings": list(warnings)})
    return Imported(
        folder=folder / name,
        num_inputs=done - len(bad),
        skipped=tuple(bad),
        duplicates=tuple(duplicates),
        replaced=replaced,
        warnings=warnings,
    )


def _digest_of(folder: Path) -> str | None:
    """Of the data set in `folder`; None if there is none, empty if it is damaged."""
    try:
        return Store(folder).digest if is_store(folder) else None
    except UserError:
        return ""


def _check_name(name: str, folder: Path, replace: bool) -> None:
    require_name(name, "name")
    if name in DATASETS:
        raise UserError(f"name: '{name}' is a built-in data set; choose another name")
    require_free(folder / name, replace)


def _check_missing(source: CheckedSource, options: ImportOptions) -> None:
    """Refuse a list's missing images before hours are spent on the others."""
    if source.missing and not options.skip_corrupt:
        raise BadImagesError(source.missing, len(source))


def _conversion(source: Source, options: ImportOptions) -> Conversion:
    """Raises UserError for options that the source has no use for."""
    if source.kind == "vectors":
        for key in ("size", "fit", "format"):
            if getattr(options, key) != getattr(ImportOptions(), key):
                raise UserError(f"{key}: feature vectors are stored as they are; leave --{key} out")
    size = options.size or (DEFAULT_SIZE if source.kind == "images" else None)
    return Conversion(size=size, fit=options.fit, format=options.format)


def _form(source: Source, conversion: Conversion) -> tuple[Kind, tuple[int, ...]]:
    """Kind and input shape of the store."""
    if source.kind == "vectors":
        assert source.shape is not None
        return "vectors", source.shape
    shape = (conversion.size, conversion.size, 3) if conversion.size else source.shape
    assert shape is not None
    return "raw" if conversion.format == "raw" else "encoded", shape


def _check_space(folder: Path, kind: str, shape: tuple[int, ...], source: Source) -> None:
    """Refuse what can't fit before hours are spent on it. The size of JPEGs is not known beforehand."""
    needed = len(source) * int(np.prod(shape)) * np.dtype(source.dtype).itemsize
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    with clear_store_errors(folder), tempfile.TemporaryDirectory(prefix=".probe-", dir=existing):
        free = shutil.disk_usage(existing).free
    if kind != "encoded" and needed > free:
        raise UserError(
            f"{folder}: the data set needs {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; give another "
            "--folder, a smaller --size, or --format jpeg (about a tenth)"
        )


def _parts(source: Source, conversion: Conversion, options: ImportOptions) -> Iterator[Converted]:
    is_done = source.kind == "vectors" or (
        source.kind == "pixels" and conversion.format == "raw" and options.size in (None, *_square(source.shape))
    )
    if is_done:
        return passed_on(source.items())
    return converted(source.items(), conversion, options.jobs or num_processors())


def _square(shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """The side of a square shape, as the only member."""
    return shape[:1] if shape and shape[0] == shape[1] else ()


def _append(writer: StoreWriter, finder: DuplicateFinder, part: Converted) -> set[tuple[int, int]]:
    """Write what is good in `part`; returns the domains and classes that it is of."""
    good = [index for index, fault in enumerate(part.faults) if not fault]
    items = [part.items[index] for index in good]
    inputs: list[Any] = [part.inputs[index] for index in good]
    if not good:
        return set()
    rows = inputs if isinstance(inputs[0], bytes) else np.stack(inputs)
    writer.append(rows, [item.label for item in items], [item.domain for item in items], [item.path for item in items])
    finder.add(items, [part.digests[index] for index in good])
    return {(item.domain, item.label) for item in items}


def _notes(
    origin: str, conversion: Conversion, bad: Sequence[tuple[str, str]], duplicates: Sequence[Duplicate]
) -> dict[str, Any]:
    """What is kept with the data set."""
    return {
        "source": origin,
        "conversion": asdict(conversion),
        "skipped": [{"path": path, "reason": reason} for path, reason in bad],
        "duplicates": {
            "groups": len(duplicates),
            "by_kind": dict(Counter(kind for group in duplicates for kind in group.kinds)),
            "listed": [{"paths": group.paths, "differ_in": group.kinds} for group in duplicates[:MAX_NOTED_DUPLICATES]],
        },
    }
